// Reads an image: the tar it was made from, byte for byte, or single files of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "repo/group.h"
#include "stream/byte_source.h"
#include "stream/digest.h"

namespace holdfast {

class Repository;

struct ImageReadOptions {
  /// Ranged gets at once.
  std::size_t parallelism = 4;
  /// Plain bytes that are fetched ahead of the reader, at most.
  std::uint64_t read_ahead_bytes = 16 * kMiB;
};

/// A file of an image.
struct ImageFile {
  std::string path;
  /// With its holes.
  std::uint64_t real_size = 0;
  /// Bytes in blocks.
  std::uint64_t stored_size = 0;
  std::uint64_t first_block = 0;
  std::uint64_t block_count = 0;
  /// The verbatim tar headers; empty for what GroupWriter::PutFile stored.
  Bytes headers;
};

/// An open image. Every byte it gives has been opened, decompressed and compared with its block's
/// name; what is missing or damaged is kDataLoss naming object and block. Whoever relies on the
/// group holds an Intent. Thread-safe; the sources it gives are one thread's each and must not
/// outlive it.
class ImageReader {
 public:
  /// `key` as in ImageRef. `repository` must outlive the reader. Reads the head and nothing else.
  /// kDataLoss when there is no such image.
  static Result<std::unique_ptr<ImageReader>> Open(const CallContext& call, Repository& repository,
                                                   std::string_view key);
  ~ImageReader();
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;

  /// As the manifest has it.
  const ImageRef& ref() const noexcept;
  /// Bytes of the tar.
  std::uint64_t size() const noexcept { return ref().bytes; }
  const Digest& sha256() const noexcept { return ref().sha256; }
  /// The writer's own JSON text.
  const std::string& note() const noexcept;

  /// The exact tar from its start, fetched ahead. Its last Read compares size and SHA-256 of
  /// everything with what was recorded at backup: kDataLoss instead of an end when they differ.
  Result<std::unique_ptr<ByteSource>> OpenTar(const CallContext& call,
                                              const ImageReadOptions& options = {});

  /// Visits all files in the order of the tar. `visit`'s error ends it.
  Status ListFiles(const CallContext& call,
                   const std::function<Status(const ImageFile&)>& visit) const;

  /// One file with its holes as zeros. kNotFound when the image has none of that path.
  Result<std::unique_ptr<ByteSource>> OpenFile(const CallContext& call, std::string_view path,
                                               const ImageReadOptions& options = {});

 private:
  struct State;
  explicit ImageReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
