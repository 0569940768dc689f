// One image being written: the cutter (the feeding thread), the search in parents (that thread or
// the loader) and the list of its blocks (the packer).

#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/group_writer.h"
#include "repo/write/batch.h"
#include "repo/write/group_core.h"
#include "repo/write/list_writer.h"
#include "repo/write/parent_image.h"

namespace holdfast {

/// Where the blocks of an image lie. Used by the packer, and by the feeding thread once the packer
/// has nothing more for this image.
class BlockSink {
 public:
  BlockSink(GroupCore& core, const std::string& image_key, std::shared_ptr<RoomAccount> account,
            const std::array<std::shared_ptr<ParentImage>, kParentsMax>& parents);

  Status AddOfParent(std::size_t parent, const BlockRecord& record, std::uint64_t file_offset);
  Status AddKnown(const Digest& name, const KnownBlock& known, std::uint64_t file_offset);
  void CountNew(std::uint64_t bytes) noexcept { bytes_new_ += bytes; }

  std::uint64_t blocks() const noexcept { return blocks_; }
  std::uint64_t bytes_new() const noexcept { return bytes_new_; }
  /// Everything numbered up to this must be durable before the head is put.
  ObjectNumber last_number() const noexcept;
  /// The pack table, noting what is borrowed; and the list. Ends the sink.
  PackTable MakePackTable();
  ListMap FinishList() { return list_.Finish(); }

 private:
  struct LocalPack {
    /// kParentsMax: of the directory.
    std::uint8_t of = 0;
    std::uint32_t index = 0;
  };
  std::uint32_t NewLocal(std::uint8_t of, std::uint32_t index);
  Status Add(const BlockRecord& record);

  GroupCore& core_;
  const std::array<std::shared_ptr<ParentImage>, kParentsMax>& parents_;
  ListWriter list_;
  std::vector<LocalPack> packs_;
  /// Of a parent's pack: its index here plus 1.
  std::array<std::vector<std::uint32_t>, kParentsMax> of_parent_;
  std::unordered_map<std::uint32_t, std::uint32_t> of_directory_;
  ObjectNumber packs_up_to_ = 0;
  std::uint64_t blocks_ = 0;
  std::uint64_t bytes_new_ = 0;
};

struct ImageWriterState : std::enable_shared_from_this<ImageWriterState> {
  ImageWriterState(GroupCore& core_in, std::string label_in, std::string key_in, SpoolLease room,
                   WhenFull when_full_in,
                   std::array<std::shared_ptr<ParentImage>, kParentsMax> parents_in);

  // The feeding thread.
  Status BeginFile(ByteView headers, const std::string& path, std::uint64_t real_size);
  Status Data(const CallContext& call, std::uint64_t file_offset, ByteView data);
  /// For a file whose size shows at its end.
  void SetRealSize(std::uint64_t size) noexcept { file_.real_size = size; }
  Status EndFile(const CallContext& call, ByteView padding);
  Result<ImageRef> Finish(const CallContext& call, std::uint64_t zero_bytes,
                          std::uint64_t expected_bytes, const Digest& sha256,
                          std::string_view note);
  void Abandon() noexcept;

  // The loader.
  void ResumeParked();

  GroupCore& core;
  const std::string label;
  const std::string key;
  const WhenFull when_full;
  const std::array<std::shared_ptr<ParentImage>, kParentsMax> parents;
  const std::shared_ptr<RoomAccount> account;
  BlockSink sink;
  std::atomic<std::uint64_t> bytes_read = 0;
  /// Nothing more of it is stored.
  std::atomic<bool> abandoned = false;
  /// The first error of a call; every later one gives it again.
  std::optional<Error> error;
  bool finished = false;
  /// Tells the group writer, once, how the image ended: finished, or abandoned (null).
  std::function<void(const ImageRef*)> on_end;

 private:
  /// How far the search in one parent has come.
  struct Cursor {
    std::uint64_t span_first = 0;
    std::uint64_t next = 0;
  };
  struct Need {
    std::size_t parent = 0;
    std::uint64_t block = 0;
  };

  void StartBlock(std::uint64_t file_offset);
  Status CloseBlock(const CallContext& call);
  Status SubmitBatch(const CallContext& call);
  Status Park(const CallContext& call, std::unique_lock<std::mutex>& lock,
              std::shared_ptr<Batch> batch);
  Status WaitUntilUnparked(const CallContext& call);
  Result<ImageRef> MakeHead(std::uint64_t zero_bytes, const Digest& sha256, std::string_view note);
  void CountRead(std::uint64_t bytes) noexcept;

  std::optional<Need> Resolve(Batch& batch);
  std::optional<Need> ResolveOne(std::size_t parent, BatchBlock& block);
  void DropParent(std::size_t parent, const Error& error);

  // Of the feeding thread.
  std::shared_ptr<Batch> batch_;
  bool in_block_ = false;
  std::uint32_t block_begin_ = 0;
  std::uint64_t block_file_offset_ = 0;
  std::uint64_t next_offset_ = 0;
  std::array<ParentSpan, kParentsMax> spans_{};
  FileRecord file_;
  ListWriter files_;
  std::uint64_t file_count_ = 0;
  std::uint64_t block_count_ = 0;

  std::mutex park_mutex_;
  std::condition_variable_any unparked_;
  /// Batches whose parents' records are being read, in order.
  std::deque<std::shared_ptr<Batch>> parked_;
  std::array<Cursor, kParentsMax> cursors_{};
};

}  // namespace holdfast
