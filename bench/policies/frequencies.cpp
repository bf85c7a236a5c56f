// SPDX-License-Identifier: MIT
#include "policies/policies.hpp"

void bench::add_frequency_schemes(const PolicySetting& at) { add_from_gallery<true>(at); }
