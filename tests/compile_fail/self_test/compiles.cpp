// expect: a sentence that nobody says
#include <posenc/version.hpp>

int main() {}
