// SPDX-License-Identifier: MIT
//
// Memory that is freed by its owner, and values that are shared by theirs. What std::unique_ptr and
// std::shared_ptr do, which take every file a tenth of a second to read, streams and all.
#pragma once

#include <posenc/core/abi.hpp>

#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Bytes that begin at a multiple of some alignment.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes, std::size_t alignment = 64)
      : data_(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{alignment}))),
        alignment_(alignment) {}
  Memory(Memory&& from) noexcept { swap(from); }
  Memory& operator=(Memory&& from) noexcept {
    swap(from);
    return *this;
  }
  ~Memory() {
    if (data_) ::operator delete[](data_, std::align_val_t{alignment_});
  }
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(alignment_, other.alignment_);
  }

  std::byte* data_ = nullptr;
  std::size_t alignment_ = 0;
};

/// What owners share; the last of them deletes it.
class Held {
 public:
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  virtual ~Held() = default;

 private:
  friend class Owner;
  mutable std::atomic<int> owners_{1};
};
template <class T>
class Holds : public Held {
 public:
  template <class... Args>
  explicit Holds(Args&&... args) : value_(std::forward<Args>(args)...) {}
  [[nodiscard]] const T& value() const { return value_; }

 private:
  T value_;
};

/// One of the owners.
class Owner {
 public:
  Owner() = default;
  /// Of something new.
  explicit Owner(const Held* held) : held_(held) {}
  Owner(const Owner& other) noexcept : held_(other.held_) {
    if (held_) held_->owners_.fetch_add(1, std::memory_order_relaxed);
  }
  Owner(Owner&& from) noexcept : held_(std::exchange(from.held_, nullptr)) {}
  Owner& operator=(Owner from) noexcept {
    std::swap(held_, from.held_);
    return *this;
  }
  ~Owner() {
    if (held_ && held_->owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete held_;
  }

 private:
  const Held* held_ = nullptr;
};

/// A value that lives as long as some Shared that points to it or beside it.
template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(Owner owner, const T* value) : owner_(std::move(owner)), value_(value) {}
  // A move copies: what was moved from still points to its value.
  Shared(const Shared&) = default;
  Shared& operator=(const Shared&) = default;
  ~Shared() = default;
  template <class... Args>
  [[nodiscard]] static Shared make(Args&&... args) {
    const auto* const held = new Holds<T>(std::forward<Args>(args)...);
    return {Owner(held), &held->value()};
  }

  [[nodiscard]] const T* get() const { return value_; }
  const T* operator->() const { return value_; }
  [[nodiscard]] const Owner& owner() const { return owner_; }

 private:
  Owner owner_;
  const T* value_ = nullptr;
};
using SharedAny = Shared<void>;

/// A value of any type, shared.
template <class T>
SharedAny shared(T value) {
  const Shared<T> one = Shared<T>::make(std::move(value));
  return {one.owner(), one.get()};
}

}  // namespace detail

POSENC_NAMESPACE_END
