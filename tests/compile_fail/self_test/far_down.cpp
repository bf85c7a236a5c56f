// expect within 30 lines: the last of many
static_assert(sizeof(int) == 0, "one");
static_assert(sizeof(int) == 1, "two");
static_assert(sizeof(int) == 2, "three");
static_assert(sizeof(int) == 3, "four");
static_assert(sizeof(int) == 5, "the last of many");

int main() {}
