// SPDX-License-Identifier: MIT
//
// How sentences are put together; see problems.hpp.
#pragma once

#include <posenc/core/problems.hpp>

#include <limits>
#include <sstream>

POSENC_NAMESPACE_BEGIN

POSENC_DETAIL_DEFINITION std::string Error::describe(std::string_view who,
                                                     const std::vector<std::string>& problems) {
  std::string text(who);
  if (problems.size() == 1) return text + ": " + problems.front();
  text += ": " + std::to_string(problems.size()) + " problems";
  for (const std::string& problem : problems) text += "\n  - " + problem;
  return text;
}

POSENC_DETAIL_DEFINITION void detail::SentencePart::write(std::ostream& out) const {
  switch (kind_) {
    case Kind::text:
      out << text_;
      break;
    case Kind::integer:
      out << value_.integer;
      break;
    case Kind::natural:
      out << value_.natural;
      break;
    case Kind::real:
      out << value_.real;
      break;
    case Kind::other:
      write_(out, value_.other);
  }
}

POSENC_DETAIL_DEFINITION void Problems::add_parts(
    std::initializer_list<detail::SentencePart> parts) {
  std::ostringstream sentence;
  sentence.precision(std::numeric_limits<double>::digits10);
  for (const detail::SentencePart& part : parts) part.write(sentence);
  sentences_.push_back(std::move(sentence).str());
}

POSENC_DETAIL_DEFINITION void Problems::raise(std::string_view who) const {
  throw Error(who, sentences_);
}

POSENC_NAMESPACE_END
