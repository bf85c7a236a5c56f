// SPDX-License-Identifier: MIT
//
// Mixer: a recurrence whose parameters have been checked, with what its calls need precomputed. Make it once and
// use it for many calls, from any number of threads.
//
//   const mixers::Mixer retention(mixers::RetNet{.num_heads = 8, .key_dim = 64, .value_dim = 128});
#pragma once

#include <posenc/mixers/recurrence.hpp>

#include <string>
#include <utility>

POSENC_NAMESPACE_BEGIN

namespace mixers {

class Mixer {
 public:
  /// Throws Error with every sentence when parameters of the mixer are wrong.
  template <Rule M>
  explicit Mixer(const M& mixer)
      : Mixer(M::name, problems_of(mixer), [&] { return mixer.recurrence(); }) {}

  [[nodiscard]] const Recurrence& recurrence() const { return recurrence_; }
  [[nodiscard]] const Shape& shape() const { return recurrence_.shape; }
  [[nodiscard]] std::string_view name() const { return name_; }

  /// Constant log decays of a head, one or one for each channel.
  [[nodiscard]] const float* log_decays(Index head) const {
    return log_decays_.data() + head * recurrence_.decay_width();
  }
  /// Their exponentials, for each channel and padded to a multiple of 16, as keep + change: 1 and what a decay lacks to
  /// 1 where it is above 1/2, so that nothing of it is lost, otherwise 0 and the decay.
  [[nodiscard]] const float* keep(Index head) const { return row(keep_, head); }
  [[nodiscard]] const float* change(Index head) const { return row(change_, head); }
  /// The bonus of a head, padded with zeros.
  [[nodiscard]] const float* bonus(Index head) const { return row(bonus_, head); }

 private:
  template <class M>
  static Problems problems_of(const M& mixer) {
    Problems problems;
    mixer.check(problems);
    return problems;
  }
  template <class Make>
  Mixer(std::string_view name, const Problems& problems, const Make& make) : name_(name) {
    problems.raise_if_any(who(name));
    recurrence_ = make();
    finish();
  }
  static std::string who(std::string_view name) { return "posenc::mixers::" + std::string(name); }

  /// Checks what every recurrence must be, and prepares the constant decays.
  void finish();

  [[nodiscard]] const float* row(const std::vector<float>& rows, Index head) const {
    return rows.empty() ? nullptr : rows.data() + head * ((shape().key_dim + 15) / 16 * 16);
  }

  std::string_view name_;
  Recurrence recurrence_;
  std::vector<float> log_decays_, keep_, change_, bonus_;
};

}  // namespace mixers

POSENC_NAMESPACE_END

#if defined(POSENC_DETAIL_MIXERS)
#include <posenc/mixers/mixer_definitions.hpp>
#endif
