// SPDX-License-Identifier: MIT
//
// attention.json: outputs of torch's scaled_dot_product_attention in float64 for 284 settings, with every
// positional term built densely from its formula (tests/golden/README.md). The reference and the kernel in
// double agree to the digits that the file holds; the kernel in float within the bound of oracle.hpp.
#include "golden_settings.hpp"

namespace attention_test {
namespace golden_sdpa_cases {

using golden_test::Case;
using golden_test::Json;

ReferenceResult expected_of(const Json& c) {
  ReferenceResult expected{c.at("out"), {}};
  for (const Json& lse : c.at("lse"))
    expected.lse.push_back(lse.is_null() ? -std::numeric_limits<double>::infinity()
                                         : lse.get<double>());
  return expected;
}

/// Greatest difference; infinite where only one of two numbers is finite.
template <class Numbers>
double difference(const Numbers& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = a[i] == b[i] ? 0 : std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    worst = d <= worst ? worst : std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return worst;
}

void check_case(const Json& c) {
  const AnyBound bound = golden_test::bound_of(c);
  const ReferenceResult expected = expected_of(c);
  const double tolerance = c.at("group") == "large scores" ? 1e-7 : 1e-9;
  const Case<double> in_double(c);
  const Arguments<double>& call = in_double.call;

  const ReferenceResult reference =
      reference_attention(call.q, call.k, call.v, bound, call.options);
  CHECK(difference(reference.out, expected.out) < tolerance);
  CHECK(difference(reference.lse, expected.lse) < tolerance);

  const Output<double> kernel = attend(call, bound);
  const TensorView<const double> out = kernel.out;
  const std::vector<double> numbers(out.data, out.data + out.tokens * out.heads * out.width);
  CHECK(difference(numbers, expected.out) < tolerance);
  CHECK(difference(kernel.lse, expected.lse) < tolerance);

  // Ten digits are more than float has, except where the bound itself is smaller than they are.
  const Case<float> in_float(c);
  const Output<float> narrow = attend(in_float.call, bound);
  std::vector<RowBound> bounds = error_bounds(in_float.call, bound);
  for (RowBound& row : bounds) row = {row.out + tolerance, row.lse + tolerance};
  CHECK(worst_ratio<float>(narrow.out, narrow.lse, expected, bounds) <= 1);
}

TEST_CASE("golden: attention equals torch's", "[attention][golden]") {
  const Json golden = golden_test::golden("attention.json");
  CHECK(golden.at("cases").size() >= 220);
  for (const Json& c : golden.at("cases")) {
    INFO("case " << c.at("id") << ", " << c.at("group"));
    check_case(c);
  }
}

}  // namespace golden_sdpa_cases
}  // namespace attention_test
