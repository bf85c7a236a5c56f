// SPDX-License-Identifier: MIT
//
// How sentences are put together; see problems.hpp.
#pragma once

#include <posenc/core/problems.hpp>

#include <array>
#include <charconv>
#include <limits>

POSENC_NAMESPACE_BEGIN

POSENC_DETAIL_DEFINITION std::string Error::describe(std::string_view who,
                                                     const std::vector<std::string>& problems) {
  if (problems.size() == 1)
    return detail::sentence({who, ": ", std::string_view(problems.front())});
  std::string text = detail::sentence({who, ": ", problems.size(), " problems"});
  for (const std::string& problem : problems) (text += "\n  - ") += problem;
  return text;
}

POSENC_DETAIL_DEFINITION void detail::SentencePart::append_to(std::string& sentence) const {
  std::array<char, 32> number;
  const auto append = [&](std::to_chars_result end) { sentence.append(number.data(), end.ptr); };
  char* const first = number.data();
  char* const last = first + number.size();
  switch (kind_) {
    case Kind::characters:
      sentence += value_.characters;
      return;
    case Kind::text:
      sentence += *value_.text;
      return;
    case Kind::character:
      sentence += value_.character;
      return;
    case Kind::integer:
      return append(std::to_chars(first, last, value_.integer));
    case Kind::natural:
      return append(std::to_chars(first, last, value_.natural));
    case Kind::real:
      return append(std::to_chars(first, last, value_.real, std::chars_format::general,
                                  std::numeric_limits<double>::digits10));
  }
}

POSENC_DETAIL_DEFINITION std::string detail::sentence(std::initializer_list<SentencePart> parts) {
  std::string text;
  for (const SentencePart& part : parts) part.append_to(text);
  return text;
}

POSENC_DETAIL_DEFINITION void Problems::add_sentence(
    std::initializer_list<detail::SentencePart> parts) {
  sentences_.push_back(detail::sentence(parts));
}

POSENC_DETAIL_DEFINITION void Problems::raise(std::string_view who) const {
  throw Error(who, sentences_);
}

POSENC_NAMESPACE_END
