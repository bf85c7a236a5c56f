// SPDX-License-Identifier: MIT
//
// Scheme: what the lab compares, an encoding with a name. A list of them goes into one experiment.
//
//   Scheme("ALiBi", ALiBi{} | Causal{})
//   Scheme("HWFA", [](Index layers) { return hwfa(layers, rope, {.trained = 128}); })
//   Scheme("T5", zeros, [](std::span<const double> learned) { return T5Bias{...} | Causal{}; })
//   Scheme("Sinusoidal", encoding(Causal{})).adding(Sinusoidal{.width = 128, .scale = 0.1})
//
//   Scheme("RetNet", encoding(Causal{})).mixing(all_layers(shape, retnet_mixing))        // lab/mixers.hpp
//   scheme.read_by(chosen_keys(Quest{.budget = 64}))                       // evaluated so: lab/chosen_keys.hpp
//
// What a scheme learns is a list of numbers: first those of the embedding that it adds, then those of its
// encodings, kind by kind, in the order of ParameterGradients::values(), then those of layers that mix tokens otherwise.
#pragma once

#include <posenc/attention/backward/parameters.hpp>
#include <posenc/embedding/backward.hpp>
#include <posenc/lab/attention_read.hpp>
#include <posenc/lab/token_mixing.hpp>
#include <posenc/schedule/layer_schedule.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

POSENC_NAMESPACE_BEGIN

namespace lab {

/// An embedding of positions, of any type, added to the embeddings of tokens.
struct AddedEmbedding {
  Index num_learned = 0;
  std::function<void(TensorView<float> x, const Positions& positions)> add{};
  /// Adds to the gradient of what is learned. Empty where nothing is.
  std::function<void(TensorView<float> d_x, const Positions& positions, std::span<double> gradient)>
      gradient{};
};

class Scheme {
 public:
  using OfLayers = std::function<LayerSchedule(Index layers, std::span<const double> learned)>;
  using OfLearned = std::function<AnyEncoding(std::span<const double> learned)>;
  using Embedding = std::function<AddedEmbedding(std::span<const double> learned)>;

  /// The same in all layers; nothing is learned.
  Scheme(std::string name_, const AnyEncoding& encoding)
      : name(std::move(name_)), layers([encoding](Index count, std::span<const double>) {
          return LayerSchedule::uniform(count, encoding);
        }) {}
  /// By layers.
  Scheme(std::string name_, const std::function<LayerSchedule(Index layers)>& of_layers)
      : name(std::move(name_)),
        layers([of_layers](Index count, std::span<const double>) { return of_layers(count); }) {}
  /// The same in all layers, which learn together.
  Scheme(std::string name_, std::vector<double> initial, const OfLearned& of_learned)
      : name(std::move(name_)), learned(std::move(initial)),
        layers([of_learned](Index count, std::span<const double> values) {
          return LayerSchedule::uniform(count, of_learned(values));
        }) {}

  /// Adds a fixed embedding of positions to those of the tokens.
  template <InputEmbedding E>
  [[nodiscard]] Scheme adding(const E& embedding) const {
    Scheme with = without_embedding();
    with.added = [embedding](std::span<const double>) {
      return AddedEmbedding{.add = [embedding](TensorView<float> x, const Positions& positions) {
        add_positions(embedding, x, positions);
      }};
    };
    return with;
  }
  /// Adds an embedding that is learned: make(values) gives that of so many values, beginning with `initial`.
  template <class Make>
  [[nodiscard]] Scheme adding(const std::vector<double>& initial, const Make& make) const {
    Scheme with = without_embedding();
    with.learned.insert(with.learned.begin(), initial.begin(), initial.end());
    with.added = [make, count = initial.size()](std::span<const double> values) {
      const auto embedding = make(values.first(count));
      return AddedEmbedding{.num_learned = static_cast<Index>(count),
                            .add =
                                [embedding](TensorView<float> x, const Positions& positions) {
                                  add_positions(embedding, x, positions);
                                },
                            .gradient =
                                [embedding](TensorView<float> d_x, const Positions& positions,
                                            std::span<double> gradient) {
                                  add_positions_backward(embedding, d_x, positions, gradient);
                                }};
    };
    return with;
  }

  /// Has some layers mix tokens otherwise than by attention. It learns what they learn.
  [[nodiscard]] Scheme mixing(const Mixings& of_layers) const {
    Problems problems;
    problems.require(mixings.empty(), "its layers mix otherwise already.");
    problems.raise_if_any("posenc::lab::Scheme " + name);
    Scheme with = *this;
    with.mixings = of_layers;
    for (const auto& layer : of_layers)
      if (layer) {
        const std::vector<double> initial = layer->initial();
        with.learned.insert(with.learned.end(), initial.begin(), initial.end());
      }
    return with;
  }

  /// Has all attention read in some way, for evaluation: such a scheme is not trained.
  [[nodiscard]] Scheme read_by(std::shared_ptr<const AttentionRead> how) const {
    Problems problems;
    problems.require(!read, "its attention is read in a way of its own already.");
    problems.raise_if_any("posenc::lab::Scheme " + name);
    Scheme with = *this;
    with.read = std::move(how);
    return with;
  }

  std::string name;
  std::vector<double> learned{};  ///< initial values
  OfLayers layers;
  Embedding added{};                            ///< empty: nothing is added
  Mixings mixings{};                            ///< of each layer; empty: all have attention
  std::shared_ptr<const AttentionRead> read{};  ///< null: over all keys

 private:
  [[nodiscard]] Scheme without_embedding() const {
    Problems problems;
    problems.require(!added, "it adds an embedding already.");
    problems.raise_if_any("posenc::lab::Scheme " + name);
    return *this;
  }
};

/// A scheme with values of what it learns, bound to a model's layers.
class BoundScheme {
 public:
  /// Throws Error with every problem, also where the values are not as many as the scheme learns.
  BoundScheme(const Scheme& scheme, std::span<const double> learned, Index layers, Index heads) {
    Problems problems;
    problems.require(learned.size() == scheme.learned.size(), "it learns ", scheme.learned.size(),
                     " numbers, but got ", learned.size(), ".");
    problems.raise_if_any("posenc::lab::Scheme " + scheme.name);
    problems.require(scheme.mixings.empty() || std::ssize(scheme.mixings) == layers,
                     "it has mixings for ", scheme.mixings.size(), " layers, the model has ",
                     layers, ".");
    problems.raise_if_any("posenc::lab::Scheme " + scheme.name);
    const std::span<const double> of_encodings = keep_mixings(scheme.mixings, learned);
    if (scheme.added) added_ = scheme.added(of_encodings);
    const LayerSchedule schedule =
        scheme.layers(layers, of_encodings.subspan(static_cast<std::size_t>(added_.num_learned)));
    schedule.check();
    problems.require(schedule.size() == layers, "the schedule has ", schedule.size(),
                     " layers and the model ", layers, ".");
    read_ = scheme.read;
    const BindOptions of_heads{.num_heads = heads};
    problems.require(!read_ || mixings_.empty() ||
                         std::find(mixings_.begin(), mixings_.end(), nullptr) != mixings_.end(),
                     "it has no layer of attention that could be read by chosen keys.");
    for (const AnyEncoding& kind : schedule.kinds)
      kinds_.push_back(
          posenc::bind(read_ ? read_->encoding(problems, kind, of_heads) : kind, of_heads));
    of_layer_ = schedule.of_layer;
    Index count = added_.num_learned;
    for (const AnyBound& kind : kinds_) count += std::ssize(ParameterGradients(kind).values());
    learns_ = !of_encodings.empty();
    problems.require(!learns_ || count == std::ssize(of_encodings),
                     "its embedding and components learn ", count, " numbers, but it begins with ",
                     of_encodings.size(), ".");
    problems.raise_if_any("posenc::lab::Scheme " + scheme.name);
  }

  [[nodiscard]] const AnyBound& layer(Index i) const {
    return kinds_[of_layer_[static_cast<std::size_t>(i)]];
  }
  [[nodiscard]] std::size_t kind_of(Index i) const {
    return of_layer_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] const std::vector<AnyBound>& kinds() const { return kinds_; }
  [[nodiscard]] const AddedEmbedding& added() const { return added_; }
  /// How attention is read, or null.
  [[nodiscard]] const AttentionRead* read() const { return read_.get(); }
  /// Throws Error where keys are chosen.
  void check_differentiable() const {
    if (read_)
      throw Error("posenc::lab::BoundScheme",
                  {"its attention reads chosen keys, and a choice has no gradient: train the "
                   "scheme without it, and read what was trained with it."});
  }
  /// Do encodings or the embedding learn?
  [[nodiscard]] bool learns() const { return learns_; }

  /// What a layer has in place of attention, or null, and what it has learned.
  [[nodiscard]] const TokenMixing* mixing(Index i) const {
    return mixings_.empty() ? nullptr : mixings_[static_cast<std::size_t>(i)].get();
  }
  [[nodiscard]] std::span<const double> learned_by(Index i) const {
    return of_mixing(std::span<const double>(learned_by_mixings_), i);
  }
  /// The part of a list of all numbers that are learned, or of their gradients, that is a layer's mixing's.
  template <class N>
  [[nodiscard]] std::span<N> part_of_mixing(std::span<N> all, Index i) const {
    return of_mixing(all.last(learned_by_mixings_.size()), i);
  }

 private:
  /// Keeps the layers' mixings and their numbers, the last ones, and gives back the others.
  std::span<const double> keep_mixings(const Mixings& mixings, std::span<const double> learned) {
    mixings_ = mixings;
    firsts_.push_back(0);
    for (const auto& layer : mixings)
      firsts_.push_back(firsts_.back() +
                        (layer ? static_cast<std::size_t>(layer->num_learned()) : 0));
    const std::span<const double> last = learned.last(std::min(firsts_.back(), learned.size()));
    learned_by_mixings_.assign(last.begin(), last.end());
    return learned.first(learned.size() - last.size());
  }
  template <class N>
  [[nodiscard]] std::span<N> of_mixing(std::span<N> all, Index i) const {
    const std::size_t first = firsts_[static_cast<std::size_t>(i)];
    return all.subspan(first, firsts_[static_cast<std::size_t>(i) + 1] - first);
  }

  Mixings mixings_;
  std::vector<std::size_t> firsts_;  ///< of each layer's numbers among those of mixings
  std::vector<double> learned_by_mixings_;
  AddedEmbedding added_;
  std::shared_ptr<const AttentionRead> read_;
  std::vector<AnyBound> kinds_;
  std::vector<std::size_t> of_layer_;
  bool learns_ = false;
};

}  // namespace lab

POSENC_NAMESPACE_END
