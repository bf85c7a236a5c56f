// SPDX-License-Identifier: MIT
#include "oracle.hpp"

#include <posenc/frequency/dynamic_ntk.hpp>

using namespace posenc;
using namespace oracle;

static_assert(FrequencyTransform<DynamicNTK> && ChecksState<DynamicNTK> &&
              LengthDependent<DynamicNTK>);

namespace dynamic_ntk_cases {
constexpr DynamicNTKForm all_forms[] = {DynamicNTKForm::huggingface, DynamicNTKForm::paper,
                                        DynamicNTKForm::qwen, DynamicNTKForm::clex};

TEST_CASE("DynamicNTK golden numbers") {
  const DynamicNTK huggingface{.factor = 2, .original_context = 4096};
  CHECK(after(huggingface, state(128, 10000, 8192)).base == golden(30527.7367488));
  CHECK(huggingface.scale(8192) == 3);  // alpha^2 - alpha + 1, not alpha

  const DynamicNTK qwen{.original_context = 8192, .form = DynamicNTKForm::qwen};
  CHECK(qwen.scale(1) == 1);
  CHECK(qwen.scale(8192) == 1);
  CHECK(qwen.scale(8193) == 3);
  CHECK(qwen.scale(16384) == 3);
  CHECK(qwen.scale(16385) == 7);
  CHECK(qwen.scale(32768) == 7);
  CHECK(qwen.scale(32769) == 15);

  const DynamicNTK clex{.factor = 4, .original_context = 4096, .form = DynamicNTKForm::clex};
  CHECK(clex.scale(4096) == 1);
  CHECK(clex.scale(4097) == 3);
  CHECK(clex.scale(8192) == 3);
  CHECK(clex.scale(16384) == 7);
  CHECK(clex.scale(1 << 30) == 7);

  const DynamicNTK paper{.original_context = 4096, .form = DynamicNTKForm::paper};
  CHECK(paper.scale(0) == 1);
  CHECK(paper.scale(6144) == 1.5);
}

TEST_CASE("DynamicNTK is NTK at the scale of the current length") {
  for (Index d : {4, 64, 128})
    for (Position length : {4097, 5000, 16384, 1000000}) {
      const RotaryState s =
          after(DynamicNTK{.factor = 2.5, .original_context = 4096}, state(d, 5e5, length));
      const Real m = 2.5L * static_cast<Real>(length) / 4096 - 1.5L;
      const Real base = 5e5L * std::pow(m, static_cast<Real>(d) / static_cast<Real>(d - 2));
      CHECK(s.base == Approx(static_cast<double>(base)).epsilon(1e-12));
      check_pairs(s, [&](Index i) { return plain(i, d, base); });
    }
}

TEST_CASE("DynamicNTK changes nothing up to the original context") {
  for (DynamicNTKForm form : all_forms)
    for (Position length : {0, 1, 100, 2047, 4095, 4096})
      for (Index d : {2, 128})
        check_identity(DynamicNTK{.factor = 8, .original_context = 4096, .form = form},
                       state(d, 10000, length));
}

TEST_CASE("DynamicNTK with Hugging Face's factor 1 is NTK with length over context, exactly") {
  for (Position length : {4097, 5000, 8192, 100003}) {
    const RotaryState hf =
        after(DynamicNTK{.factor = 1, .original_context = 4096}, state(128, 1e4, length));
    const RotaryState ntk =
        after(NTK{.alpha = static_cast<double>(length) / 4096}, state(128, 1e4, length));
    CHECK((hf.inv_freq == ntk.inv_freq).all());
    CHECK(hf.base == ntk.base);
    const RotaryState paper =
        after(DynamicNTK{.original_context = 4096, .form = DynamicNTKForm::paper},
              state(128, 1e4, length));
    CHECK((hf.inv_freq == paper.inv_freq).all());
  }
}

TEST_CASE("DynamicNTK leaves a single pair alone") {
  CHECK(after(DynamicNTK{.factor = 2, .original_context = 64}, state(2, 1e4, 4096)).inv_freq[0] ==
        1);
}

TEST_CASE("DynamicNTK reports wrong parameters") {
  CHECK(sentences(DynamicNTK{.original_context = 4096}, state(64)).empty());
  check_sentence(DynamicNTK{.factor = 2}, state(64),
                 "original_context, the trained length, must be positive, got 0");
  check_sentence(DynamicNTK{.factor = 2, .original_context = -1}, state(64), "got -1");
  check_sentence(DynamicNTK{.factor = 0.9, .original_context = 64}, state(64),
                 "factor must be at least 1, got 0.9");
  check_sentence(DynamicNTK{.factor = not_a_number, .original_context = 64}, state(64), "got nan");
  check_sentence(DynamicNTK{.original_context = 64}, state(64, 1e4, -5),
                 "current length must not be negative, got -5");
}

}  // namespace dynamic_ntk_cases
