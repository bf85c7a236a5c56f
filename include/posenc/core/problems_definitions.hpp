// SPDX-License-Identifier: MIT
//
// How sentences are put together; see problems.hpp.
#pragma once

#include <posenc/core/problems.hpp>

#include <array>
#include <cstdio>
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
      std::snprintf(number.data(), number.size(), "%lld", value_.integer);
      break;
    case Kind::natural:
      std::snprintf(number.data(), number.size(), "%llu", value_.natural);
      break;
    case Kind::real:
      std::snprintf(number.data(), number.size(), "%.*g", std::numeric_limits<double>::digits10,
                    value_.real);
  }
  sentence += number.data();
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
