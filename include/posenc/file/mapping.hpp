// SPDX-License-Identifier: MIT
//
// A file in memory, read only: pages are loaded when they are first read, and dropped again when memory is short.
// Needs POSIX (open, fstat, mmap).
#pragma once

#include <posenc/file/sentences.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace file {

/// Whoever holds this keeps the pages. Nobody may shorten the file meanwhile: POSIX stops a program that reads a
/// page which is gone.
class Mapping {
 public:
  Mapping() = default;
  /// Throws Error, in the name of `who`, where the file cannot be opened or mapped, or is no ordinary file.
  Mapping(std::string_view who, const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.number < 0) fail_with_reason(who, "opened", path);
    struct stat status{};
    if (::fstat(file.number, &status) != 0) fail_with_reason(who, "asked for its size", path);
    if (!S_ISREG(status.st_mode)) fail(who, in_quotes(path.string()), " is no ordinary file.");
    if (status.st_size == 0) return;
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const pages = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (pages == MAP_FAILED) fail_with_reason(who, "mapped", path);
    pages_ = {static_cast<const std::byte*>(pages), size};
  }
  Mapping(Mapping&& other) noexcept : pages_(std::exchange(other.pages_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(pages_, other.pages_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (!pages_.empty()) ::munmap(const_cast<std::byte*>(pages_.data()), pages_.size());
  }

  [[nodiscard]] std::span<const std::byte> bytes() const { return pages_; }

 private:
  struct Descriptor {
    int number;
    explicit Descriptor(int n) : number(n) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  };

  [[noreturn]] static void fail_with_reason(std::string_view who, const char* what,
                                            const std::filesystem::path& path) {
    const std::string reason = std::generic_category().message(errno);
    fail(who, in_quotes(path.string()), " cannot be ", what, ": ", reason, ".");
  }

  std::span<const std::byte> pages_{};
};

}  // namespace file

POSENC_NAMESPACE_END
