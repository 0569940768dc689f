// The whole archive of one module is linked into this program with its declared dependencies only.
int main() { return 0; }
