// SPDX-License-Identifier: MIT
//
// Sequence mixers beyond softmax: what takes the place of attention in a layer, with a state of constant size.
// docs/mixers.md says which formula each computes and what it costs.
#pragma once

#include <posenc/mixers/backward.hpp>
#include <posenc/mixers/channel_mix.hpp>
#include <posenc/mixers/delta.hpp>
#include <posenc/mixers/gla.hpp>
#include <posenc/mixers/head_norm.hpp>
#include <posenc/mixers/linear_attention.hpp>
#include <posenc/mixers/mamba.hpp>
#include <posenc/mixers/mamba2.hpp>
#include <posenc/mixers/mamba3.hpp>
#include <posenc/mixers/operators.hpp>
#include <posenc/mixers/retnet.hpp>
#include <posenc/mixers/rwkv.hpp>
#include <posenc/mixers/rwkv4.hpp>
#include <posenc/mixers/rwkv7.hpp>
#include <posenc/mixers/scan_backward.hpp>
#include <posenc/mixers/selective_scan.hpp>
#include <posenc/mixers/short_convolution.hpp>
#include <posenc/mixers/short_convolution_backward.hpp>
#include <posenc/mixers/token_shift.hpp>
#include <posenc/mixers/token_shift_backward.hpp>
