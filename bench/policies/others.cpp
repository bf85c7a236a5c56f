// SPDX-License-Identifier: MIT
#include "policies/policies.hpp"

void bench::add_other_encodings(const PolicySetting& at) { add_from_gallery<false>(at); }
