// SPDX-License-Identifier: MIT
//
// What nearly every test includes, compiled once.
#pragma once

#include "catch.hpp"

#include <posenc/posenc.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>
