#include "repo/image_reader.h"

#include <fmt/format.h>

#include "repo/list_reader.h"
#include "repo/read/segment_source.h"
#include "repo/repository.h"

namespace holdfast {

struct ImageReader::State {
  State(Repository& repository_in, ImageHead head_in)
      : repository(repository_in), head(std::move(head_in)) {}
  Repository& repository;
  const ImageHead head;
  ImageRef ref;
};

ImageReader::ImageReader(std::unique_ptr<State> state) : state_(std::move(state)) {}

ImageReader::~ImageReader() = default;

Result<std::unique_ptr<ImageReader>> ImageReader::Open(const CallContext& call,
                                                       Repository& repository,
                                                       std::string_view key) {
  const auto parsed = ParseKey(key);
  if (!parsed || parsed->kind != KeyKind::kImage) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("'{}' is not the key of an image", key));
  }
  HF_TRY(ImageHead head, GetImageHead(call, repository, key));
  auto state = std::make_unique<State>(repository, std::move(head));
  state->ref = {.key = std::string(key),
                .label = state->head.label,
                .bytes = state->head.bytes,
                .sha256 = state->head.sha256,
                .files = state->head.files,
                .blocks = state->head.blocks,
                .bytes_new = state->head.bytes_new};
  return std::unique_ptr<ImageReader>(new ImageReader(std::move(state)));
}

const ImageRef& ImageReader::ref() const noexcept { return state_->ref; }

const std::string& ImageReader::note() const noexcept { return state_->head.note; }

Result<std::unique_ptr<ByteSource>> ImageReader::OpenTar(const CallContext& call,
                                                         const ImageReadOptions& options) {
  auto elements = std::make_unique<TarElements>(state_->repository, state_->ref.key, state_->head);
  return std::unique_ptr<ByteSource>(std::make_unique<SegmentSource>(
      call, state_->repository, state_->head.packs, std::move(elements), options,
      SegmentSource::Expected{.bytes = state_->ref.bytes, .sha256 = state_->ref.sha256},
      state_->ref.key));
}

Status ImageReader::ListFiles(const CallContext& call,
                              const std::function<Status(const ImageFile&)>& visit) const {
  FileListReader files(state_->repository, state_->ref.key, state_->head.file_list);
  for (;;) {
    HF_TRY(auto record, files.Next(call));
    if (!record) return {};
    HF_RETURN_IF_ERROR(visit({.path = std::move(record->path),
                              .real_size = record->real_size,
                              .stored_size = record->stored_size,
                              .first_block = record->first_block,
                              .block_count = record->block_count,
                              .headers = std::move(record->headers)}));
  }
}

Result<std::unique_ptr<ByteSource>> ImageReader::OpenFile(const CallContext& call,
                                                          std::string_view path,
                                                          const ImageReadOptions& options) {
  FileListReader files(state_->repository, state_->ref.key, state_->head.file_list);
  for (;;) {
    HF_TRY(auto record, files.Next(call));
    if (!record) {
      return Error(ErrorCode::kNotFound,
                   fmt::format("the image of {} has no file '{}'", state_->ref.label, path));
    }
    if (record->path != path) continue;
    auto elements = std::make_unique<FileElements>(state_->repository, state_->ref.key,
                                                   state_->head, *std::move(record));
    return std::unique_ptr<ByteSource>(std::make_unique<SegmentSource>(
        call, state_->repository, state_->head.packs, std::move(elements), options, std::nullopt,
        fmt::format("{} of {}", path, state_->ref.key)));
  }
}

}  // namespace holdfast
