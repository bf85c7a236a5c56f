// SPDX-License-Identifier: MIT
//
// The workers of long convolutions and of their gradients, which share the groups of channels of a call.
#pragma once

#include <posenc/executor/tasks.hpp>
#include <posenc/mixers/convolution/taps_worker.hpp>
#include <posenc/mixers/convolution/worker.hpp>

POSENC_NAMESPACE_BEGIN

namespace detail {

/// Workers of either form, one for each thread of the greatest call that there was.
template <template <class> class Transforms, class Direct>
struct FormWorkers {
  std::vector<Transforms<double>> in_double;
  std::vector<Transforms<float>> in_float;
  std::vector<Direct> direct;

  template <class Call>
  void run(const Call& call, const AnyExecutor& executor) {
    if (call.plan.direct)
      run_with(direct, call, executor);
    else
      call.by.in_float() ? run_with(in_float, call, executor) : run_with(in_double, call, executor);
  }

 private:
  template <class Worker, class Call>
  static void run_with(std::vector<Worker>& all, const Call& call, const AnyExecutor& executor) {
    const Index groups = Group::groups(call.by.channels()),
                workers = std::min(groups, executor.concurrency());
    grow(all, workers);
    for (Index w = 0; w < workers; ++w) all[static_cast<std::size_t>(w)].prepare(call.plan);
    run_tasks(executor, workers, groups, [&](Index w) {
      return [&, w](Index group) { all[static_cast<std::size_t>(w)].run(call, group); };
    });
  }
};

struct ConvolutionWorkers {
  FormWorkers<TransformWorker, DirectWorker> outputs;
  FormWorkers<TransformTapsWorker, DirectTapsWorker> taps;
  std::vector<float> rows;  ///< of whoever calls convolve() in turn
};

}  // namespace detail

POSENC_NAMESPACE_END
