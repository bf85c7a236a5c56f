// SPDX-License-Identifier: MIT
//
// gradients.json: torch's autograd in float64 for the settings of attention.json. The reference and the
// kernel in double agree to the digits that the file holds, the kernel in float to what float has.
#include "../attention/golden_settings.hpp"
#include "../support/cases.hpp"
#include "problem.hpp"

#include <posenc/score/soft_cap.hpp>

namespace golden_cases {

using namespace gradient_test;
using golden_test::Case;
using golden_test::Json;

/// The elements that the file keeps.
double difference(const Json& kept, std::span<const double> got) {
  const std::size_t stride = kept.at("stride");
  const std::vector<double> values = kept.at("values");
  if (values.size() != (got.size() + stride - 1) / stride) return HUGE_VAL;
  std::vector<double> some;
  for (std::size_t i = 0; i < values.size(); ++i) some.push_back(got[i * stride]);
  return worst(some, values);
}

/// Gradients by the names of the file; the parameters of a component stand one behind another.
void check(const Json& expected, const AnyBound& bound, const std::vector<double>& q,
           const std::vector<double>& k, const std::vector<double>& v,
           std::span<const double> parameters, double tolerance) {
  CHECK(difference(expected.at("q"), q) < tolerance);
  CHECK(difference(expected.at("k"), k) < tolerance);
  CHECK(difference(expected.at("v"), v) < tolerance);
  const auto next = [&](const char* name, std::size_t count) {
    CAPTURE(name);
    CHECK(difference(expected.at(name), parameters.first(count)) < tolerance);
    parameters = parameters.subspan(count);
  };
  for (const auto& [self, ask] : bound.answers().asked()) {
    if (!ask->num_parameters) continue;
    const auto count = static_cast<std::size_t>(ask->num_parameters(self));
    if (ask->sink_logit_gradient)
      next("sinks", count);
    else if (ask == &detail::questions<SoftCap>)
      next("cap", count);
    else if (expected.contains("r1"))
      next("r1", count / 2), next("r2", count / 2);
    else
      next(expected.contains("table") ? "table" : "slopes", count);
  }
  CHECK(parameters.empty() != expected.contains("inv_freq"));
  if (!parameters.empty()) next("inv_freq", parameters.size());
}

template <class T>
std::vector<double> widened(const std::vector<T>& x) {
  return {x.begin(), x.end()};
}

template <class T>
void check_kernel(const Json& c, const Json& expected, const AnyBound& bound, double tolerance) {
  const Sizes n{.queries = c.at("tq"),
                .keys = c.at("tk"),
                .heads = c.at("heads"),
                .kv_heads = c.at("kv_heads"),
                .width = c.at("d"),
                .value_width = c.at("dv")};
  Problem<T> x(n);
  const auto fill = [](std::vector<T>& to, std::uint64_t seed, double gain) {
    const std::vector<double> values = golden_test::generated(seed, std::ssize(to), gain);
    std::transform(values.begin(), values.end(), to.begin(),
                   [](double value) { return static_cast<T>(value); });
  };
  const std::uint64_t seed = c.at("seed_v");
  fill(x.q, c.at("seed_q"), c.at("q_gain"));
  fill(x.k, c.at("seed_k"), 1);
  fill(x.v, seed, 1);
  fill(x.d_out, seed + 2, 1);
  const AttentionOptions<T> options{.query_offset = n.keys - n.queries};
  const Gradients<T> got = x.kernel(bound, options, {.frequencies = bound.has_rotary()});
  check(expected, bound, widened(got.q), widened(got.k), widened(got.v), got.parameters, tolerance);
  if constexpr (std::is_same_v<T, double>) {
    ReferenceGradients reference = x.reference(bound, options);
    reference.parameters.insert(reference.parameters.end(), reference.frequencies.begin(),
                                reference.frequencies.end());
    check(expected, bound, reference.q, reference.k, reference.v, reference.parameters, tolerance);
  }
}

TEST_CASE("golden: gradients equal those of torch's autograd") {
  const Json settings = golden_test::golden("attention.json").at("cases");
  const Json golden = golden_test::golden("gradients.json").at("cases");
  CHECK(golden.size() >= 200);
  posenc_test::Sample sample;
  for (const Json& expected : golden) {
    if (!sample.next()) continue;
    const Json& c = settings.at(expected.at("id").get<std::size_t>());
    INFO("case " << c.at("id") << ", " << c.at("group"));
    const AnyBound bound = golden_test::bound_of(c);
    check_kernel<double>(c, expected, bound, 1e-9);
    check_kernel<float>(c, expected, bound, 2e-4);
  }
}

}  // namespace golden_cases
