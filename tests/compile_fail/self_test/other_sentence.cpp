// expect: a sentence that stands only in the source
static_assert(sizeof(int) == 0, "another sentence");  // a sentence that stands only in the source

int main() {}
