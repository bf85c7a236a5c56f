// expect: the answer is 42; not [41]
// expect: 'value' must be known
//
// Two mistakes: one in a template that is instantiated, one with punctuation in its sentence.
#include <posenc/version.hpp>

template <class T>
void ask(T) {
  static_assert(sizeof(T) == 0, "'value' must be known");
}

static_assert(POSENC_VERSION_MAJOR < 0, "the answer is 42; not [41]");

int main() { ask(1); }
