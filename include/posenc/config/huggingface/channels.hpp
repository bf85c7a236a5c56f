// SPDX-License-Identifier: MIT
//
// ChannelReader: which channels of a head rotate.
//
//   qk_rope_head_dim, the last ones; else rotary_dim; else partial_rotary_factor of the dictionary;
//   else partial_rotary_factor, rotary_pct or rope_pct of the file; else the fraction of Hugging
//   Face's class; the first ones
//
// With rope_type "proportional" the fraction is the scheme's own. No channels at all is an error.
#pragma once

#include <posenc/config/huggingface/heads.hpp>
#include <posenc/config/model.hpp>

POSENC_NAMESPACE_BEGIN
namespace huggingface {

template <class Json>
class ChannelReader {
 public:
  ChannelReader(const Fields<Json>& file, Problems& problems) : file_(file), problems_(problems) {}

  /// `may_differ`: the dictionary may say something else than the file.
  void read(const Fields<Json>& fields, bool may_differ, const Heads& heads,
            config::Rotation& rotation, config::LayerKind& layer) {
    const auto of_dict = fields.number("partial_rotary_factor");
    if (heads.mla_rope_dim != 0) {
      rotation.rotary_dim = heads.mla_rope_dim;
      rotation.rotary_offset = rotation.head_dim - heads.mla_rope_dim;
      layer.notes.push_back(sentence("the last ", heads.mla_rope_dim, " of ", rotation.head_dim,
                                     " channels rotate (qk_rope_head_dim, qk_nope_head_dim)."));
      return;
    }
    rotation.rotary_dim = rotation.head_dim;
    const std::string name = file_.key_of(spellings::partial);
    const auto of_file = file_.number(name);
    const bool is_given = file_.peek(name) != nullptr;
    if (of_dict && of_file && is_given && *of_dict != *of_file && !may_differ)
      problems_.add(fields.path("partial_rotary_factor"), " = ", *of_dict, " and ", name, " = ",
                    *of_file, " contradict each other: keep one.");
    if (rotation.type == "proportional") return;
    const auto channels = file_.integer("rotary_dim", 1, widest_head);
    const bool from_dict =
        of_dict && !(may_differ && is_given && fields.where() == "rope_parameters");
    const double fraction = from_dict ? *of_dict : of_file.value_or(1);
    const std::string source = from_dict ? fields.path("partial_rotary_factor") : name;
    if (!(fraction > 0 && fraction <= 1)) {
      problems_.add(source, " must be greater than 0 and at most 1, got ", fraction, ".");
      return;
    }
    const auto by_fraction = static_cast<Index>(static_cast<double>(rotation.head_dim) * fraction);
    if (by_fraction == 0 && rotation.head_dim > 0 && !channels) {
      problems_.add(source, " = ", fraction, " of ", rotation.head_dim,
                    " channels leaves none that rotates.");
      return;
    }
    if (channels && (of_dict || is_given) && *channels != by_fraction)
      problems_.add("rotary_dim = ", *channels, " and ", source, " = ", fraction, " of ",
                    rotation.head_dim, " channels contradict each other.");
    rotation.rotary_dim = channels.value_or(by_fraction);
    if (rotation.head_dim > 0 &&
        (rotation.rotary_dim > rotation.head_dim || rotation.rotary_dim % 2 != 0)) {
      problems_.add(channels ? "rotary_dim" : source, " = ",
                    channels ? static_cast<double>(*channels) : fraction, " of heads of ",
                    rotation.head_dim, " channels: ", rotation.rotary_dim,
                    " channels cannot rotate, it must be an even number of those.");
      rotation.rotary_dim = rotation.head_dim;
      return;
    }
    if (rotation.rotary_dim == rotation.head_dim) return;
    if (channels)
      layer.notes.push_back(sentence("the first ", rotation.rotary_dim, " of ", rotation.head_dim,
                                     " channels rotate (rotary_dim)."));
    else
      layer.notes.push_back(
          sentence("the first ", rotation.rotary_dim, " of ", rotation.head_dim,
                   " channels rotate (partial rotary factor ", fraction,
                   of_dict || is_given ? ")." : ", the default of the model's code)."));
  }

 private:
  const Fields<Json>& file_;
  Problems& problems_;
};

}  // namespace huggingface
POSENC_NAMESPACE_END
