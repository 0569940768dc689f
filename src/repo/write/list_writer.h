// Writes one list of an image: full chunks as parts of their own while it grows.

#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "repo/list_reader.h"
#include "repo/write/outbox.h"

namespace holdfast {

class Repository;

/// Holds at most a chunk and a record. One thread.
class ListWriter {
 public:
  /// What is referred to must outlive the writer.
  ListWriter(const Repository& repository, Outbox& outbox, std::string image_key, ImageList list,
             std::shared_ptr<RoomAccount> account);

  /// The next record is built at the end of this buffer, then Added is called.
  Bytes& buffer() noexcept { return buffer_; }
  /// Hands full chunks in; `after`: the highest number among the packs they name.
  Status Added(ObjectNumber after);
  /// What the head has to know. Ends the list.
  ListMap Finish();
  /// The highest number of a part.
  ObjectNumber last_number() const noexcept { return last_number_; }

 private:
  const Repository& repository_;
  Outbox& outbox_;
  const std::string image_key_;
  const ImageList list_;
  const std::shared_ptr<RoomAccount> account_;
  Bytes buffer_;
  ListMap map_;
  ObjectNumber last_number_ = 0;
};

}  // namespace holdfast
