// SPDX-License-Identifier: MIT
//
// Courses: steps are of the lengths and encodings that their stage says, in the shares that it says, and a training by
// lessons that are all alike is the training without them.
#include "schemes.hpp"

#include <posenc/schedule/presets.hpp>

#include <algorithm>
#include <map>
#include <sstream>

namespace course_cases {

using namespace lab_test;

/// 1 for each key that the last query of a row sees in the first layer, by a value of its own for each key.
std::string seen(const lab::Lesson& lesson) {
  const Index n = lesson.length;
  const lab::BoundScheme bound(lesson.scheme, {}, 1, 1);
  const std::vector<double> zero(static_cast<std::size_t>(4 * n));
  std::vector<double> v(static_cast<std::size_t>(n * n)), out(v.size());
  for (Index t = 0; t < n; ++t) v[static_cast<std::size_t>(t * (n + 1))] = 1;
  attention(TensorView<const double>(zero.data(), n, 1, 4),
            TensorView<const double>(zero.data(), n, 1, 4),
            TensorView<const double>(v.data(), n, 1, n), TensorView<double>(out.data(), n, 1, n),
            bound.layer(0));
  std::string keys;
  for (Index k = 0; k < n; ++k)
    keys += out[static_cast<std::size_t>((n - 1) * n + k)] > 0 ? '1' : '0';
  return keys;
}
double base_of(const lab::Lesson& lesson) {
  return lab::BoundScheme(lesson.scheme, {}, 1, 1).layer(0).rotary().state.base;
}

TEST_CASE("course_of: stages in steps of equal tokens") {
  const AnyEncoding model = rope() | Causal{};
  const ContextSchedule schedule{{{.length = 8, .tokens = 64 * 3},
                                  {.length = 16, .base = 5e4, .tokens = 64 * 2 + 1},
                                  {.length = 32, .scheme = encoding(PI{.factor = 4})}}};
  const lab::Course course = lab::course_of(schedule, model, 64);
  // The third stage begins within a step, which belongs to the second.
  const std::vector<Index> lengths{8, 8, 8, 16, 16, 16, 32, 32};
  for (Index step = 0; step < std::ssize(lengths); ++step) {
    const lab::Lesson lesson = course(step);
    CHECK(lesson.length == lengths[static_cast<std::size_t>(step)]);
    CHECK(lesson.length * lesson.sequences == 64);
    CHECK_THAT(base_of(lesson), WithinRel(lesson.length == 16 ? 5e4 : 1e4, 1e-12));
    CHECK(seen(lesson) == std::string(static_cast<std::size_t>(lesson.length), '1'));
  }
  const auto& slow = lab::BoundScheme(course(7).scheme, {}, 1, 1).layer(0).rotary().state.inv_freq;
  CHECK_THAT(slow[1], WithinRel(std::pow(1e4, -0.5) / 4, 1e-12));  // the second of two pairs, by PI
}

TEST_CASE("course_of: a share of the sequences has the full length, the others half of it") {
  for (const double share : {0.1, 0.4, 0.5, 0.9, 1.0}) {
    CAPTURE(share);
    const lab::Course course =
        lab::course_of({{{.length = 32, .tokens = 64 * 10}, {.length = 64, .full_share = share}}},
                       rope() | Causal{}, 128);
    std::map<Index, Index> sequences;
    constexpr Index steps = 1000;
    for (Index step = 5; step < 5 + steps; ++step) {
      const lab::Lesson lesson = course(step);
      CHECK(lesson.length * lesson.sequences == 128);
      sequences[lesson.length] += lesson.sequences;
    }
    const auto full = static_cast<double>(sequences[64]);
    const auto all = static_cast<double>(sequences[64] + sequences[32]);
    CHECK_THAT(full / all, WithinAbs(share, 2e-3));
    CHECK((sequences[32] == 0) == (share == 1));
  }
}

TEST_CASE("course_of: where what a token may see grows, rows are long and cut by masks") {
  const lab::Course course =
      lab::course_of(sky_ladder(32, 32 * 25, 8), rope() | Causal{}, 32);  // one token a step
  for (const Index step : {0, 1, 7, 23, 24, 25, 40}) {
    const lab::Lesson lesson = course(step);
    CHECK(lesson.length == 32);
    const Index within = std::min<Index>(32, 8 + 24 * step / 25), last_chunk = 31 / within * within;
    std::string expected(32, '1');
    std::fill(expected.begin(), expected.begin() + last_chunk, '0');
    CHECK(seen(lesson) == expected);
  }
}

TEST_CASE("Training: a course of equal lessons changes no bit, another one goes on after a break") {
  const std::vector<std::uint8_t> text = small_text(3000);
  const lab::Source source = lab::text_rows(text);
  const lab::Scheme scheme{"rope", rope() | Causal{}};
  const lab::TrainingOptions options{.steps = 9, .length = 16, .sequences = 4};
  const auto state = [](const lab::Training& training) {
    std::ostringstream to;
    training.save(to);
    return to.str();
  };
  lab::Training plain(tiny, scheme, options);
  lab::Training alike(tiny, scheme, options, [&](Index) { return lab::Lesson{16, 4, scheme}; });
  while (!plain.done()) plain.step(source), alike.step(source);
  CHECK(state(plain) == state(alike));

  // Fewer and more sequences than before, on any number of threads, and from a state.
  const lab::Course course = lab::course_of({{{.length = 4, .tokens = 64 * 3},
                                              {.length = 64, .base = 1e5, .tokens = 64 * 2},
                                              {.length = 16, .full_share = 0.5}}},
                                            rope() | Causal{}, 64);
  std::vector<Index> lengths;
  const lab::Source watched = [&](SeededRandom& random, Index sequences, Index length) {
    lengths.push_back(length);
    CHECK(sequences * length == 64);
    return source(random, sequences, length);
  };
  lab::Training whole(tiny, scheme, options, course), first = whole, second = whole;
  while (!whole.done()) whole.step(watched);
  CHECK(lengths == std::vector<Index>{4, 4, 4, 64, 64, 8, 16, 16, 8});
  for (int i = 0; i < 4; ++i) first.step(source, threads(2));
  std::stringstream kept(state(first));
  second.load(kept);
  while (!second.done()) second.step(source, threads(3));
  CHECK(state(whole) == state(second));
  CHECK(state(whole) != state(plain));
}

TEST_CASE("Training: a lesson's scheme is the one that is trained with") {
  // One step on the lesson's scheme is one step of a training that has it.
  const std::vector<std::uint8_t> text = small_text(3000);
  const lab::Source source = lab::text_rows(text);
  const lab::TrainingOptions options{.steps = 2, .length = 16, .sequences = 4};
  const lab::Scheme rotated{"rope", rope() | Causal{}};
  lab::Training by_lesson(tiny, no_scheme(), options,
                          [&](Index) { return lab::Lesson{16, 4, rotated}; });
  lab::Training by_scheme(tiny, rotated, options);
  by_lesson.step(source), by_scheme.step(source);
  CHECK(by_lesson.step(source) == by_scheme.step(source));
  CHECK(std::ranges::equal(by_lesson.weights().values(), by_scheme.weights().values()));
  CHECK_FALSE(by_lesson.bound().layer(0).has_rotary());
  CHECK(by_scheme.bound().layer(0).has_rotary());
}

TEST_CASE("course_of: what is wrong is said") {
  const AnyEncoding model = rope() | Causal{};
  const auto refuses = [](const auto& f, const std::string& sentence) {
    CHECK_THROWS_WITH(f(), ContainsSubstring(sentence));
  };
  refuses([&] { static_cast<void>(lab::course_of({}, model, 64)); }, "at least one stage");
  refuses([&] { static_cast<void>(lab::course_of({{{.length = 48}}}, model, 64)); },
          "stage 0: a step of 64 tokens is no whole number of sequences of 48");
  refuses([&] { static_cast<void>(lab::course_of({{{.length = 128}}}, model, 64)); },
          "stage 0: a step of 64 tokens is no whole number of sequences of 128");
  refuses(
      [&] { static_cast<void>(lab::course_of({{{.length = 3, .full_share = 0.5}}}, model, 9)); },
      "stage 0: sequences half as long as 3 need an even length");
  refuses(
      [&] {
        lab::Training(tiny, no_scheme(), {}, [](Index) {
          return lab::Lesson{4, 0, no_scheme()};
        }).step(lab::text_rows(small_text(50)));
      },
      "sequences must lie within [1, 2^16], got 0");
}

}  // namespace course_cases
