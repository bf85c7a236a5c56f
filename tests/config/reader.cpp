// SPDX-License-Identifier: MIT
//
// The reader of configurations, for all files of this program.
#include <posenc/config/huggingface.hpp>

template class posenc::huggingface::ModelReader<nlohmann::json>;
