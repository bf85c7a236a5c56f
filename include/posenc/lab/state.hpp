// SPDX-License-Identifier: MIT
//
// The state of a training in a stream of bytes, as this machine stores numbers. Facts that a state must share
// with the one who reads it are written beside their names' order and compared.
#pragma once

#include <posenc/core/problems.hpp>
#include <posenc/core/types.hpp>

#include <bit>
#include <cstdint>
#include <cstring>
#include <istream>
#include <ostream>
#include <span>
#include <string>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// Writes numbers and arrays of them.
class StateWriter {
 public:
  explicit StateWriter(std::ostream& to) : to_(to) { array(std::span<const char>(header)); }

  template <class N>
  void number(N value) {
    array(std::span<const N>(&value, 1));
  }
  template <class N>
  void array(std::span<const N> values) {
    to_.write(reinterpret_cast<const char*>(values.data()),
              static_cast<std::streamsize>(values.size_bytes()));
  }
  /// Throws Error where not all was written.
  void end() {
    to_.flush();
    if (!to_) throw Error("posenc::lab::Training::save", {"the state could not be written."});
  }

  static constexpr char header[16] = "posenc lab  1\n";

 private:
  std::ostream& to_;
};

/// Reads them again. What is wrong is collected, and nothing is read beyond it.
class StateReader {
 public:
  explicit StateReader(std::istream& from) : from_(from) {
    char header[sizeof(StateWriter::header)] = {};
    array(std::span<char>(header));
    problems_.require(std::memcmp(header, StateWriter::header, sizeof(header)) == 0,
                      "this is not a state of the lab's training.");
  }

  template <class N>
  [[nodiscard]] N number() {
    N value{};
    array(std::span<N>(&value, 1));
    return value;
  }
  template <class N>
  void array(std::span<N> values) {
    if (!problems_.empty()) return;
    const auto bytes = static_cast<std::streamsize>(values.size_bytes());
    from_.read(reinterpret_cast<char*>(values.data()), bytes);
    problems_.require(from_.gcount() == bytes, "the state ends early.");
  }
  /// A number that has to be the reader's own.
  template <class N>
  void expect(const char* what, N mine) {
    const N theirs = number<N>();
    if (problems_.empty())
      problems_.require(theirs == mine, "the state has ", what, " ", theirs, ", this training ",
                        mine, ".");
  }
  /// Throws Error where something was wrong, or where the stream goes on.
  void end() {
    if (problems_.empty())
      problems_.require(from_.peek() == std::istream::traits_type::eof(),
                        "the state goes on where it should end.");
    raise();
  }
  void raise() { problems_.raise_if_any("posenc::lab::Training::load"); }

 private:
  std::istream& from_;
  Problems problems_;
};

}  // namespace lab

POSENC_NAMESPACE_END
