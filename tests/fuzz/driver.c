/* Runs a target without libFuzzer: over the files of a corpus, and over what is made of each file
 * that is small enough by cutting it short anywhere, by flipping each of its bits, and by swapping
 * in another's tail. The same every time.
 *
 *   replay_TARGET [--runs N] FOLDER|FILE...
 *
 * N bounds the mutations of the whole corpus: of more, every k-th is run. Fails if the target took
 * none of the files that are no mutations: a corpus of an older format proves little. What an input
 * breaks, a sanitizer or FUZZ_REQUIRE says; the input is then left in ./crash-PROGRAM. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 4096, SMALL_BYTES = 4096, PATH_BYTES = 4096 };

struct file {
    char *path;
    uint8_t *bytes;
    size_t size;
};

static struct file files[FILES_MAX];
static size_t file_count;

/* ---- what is being run, and left behind if it is the last ---- */

static struct satchel_span running;

static void leave_input(void)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "crash-%s", program_invocation_short_name);
    FILE *file = running.data ? fopen(path, "wbe") : NULL;
    if (file && fwrite(running.data, 1, running.size, file) == running.size && fclose(file) == 0)
        fprintf(stderr, "the input is in %s; to run it again: %s %s\n", path,
                program_invocation_name, path);
}

static void on_abort(int signal_number)
{
    leave_input();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Of the sanitizers, where the program is built with them. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = fuzz_copy(satchel_span_of(bytes, size));
    running = satchel_span_of(bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    running = satchel_span_of(NULL, 0);
    free(copy);
}

/* ---- files ---- */

static void load(const char *path)
{
    struct file *file = &files[file_count];
    FILE *stream = fopen(path, "rbe");
    struct stat status;
    if (!stream || fstat(fileno(stream), &status) != 0 || file_count == FILES_MAX) {
        perror(path);
        exit(2);
    }
    file->size = (size_t)status.st_size;
    file->path = strdup(path);
    file->bytes = malloc(file->size ? file->size : 1);
    FUZZ_REQUIRE(file->path && file->bytes);
    FUZZ_REQUIRE(fread(file->bytes, 1, file->size, stream) == file->size);
    fclose(stream);
    for (size_t i = 0; i < file_count; i++)
        if (satchel_span_equal(satchel_span_of(files[i].bytes, files[i].size),
                               satchel_span_of(file->bytes, file->size))) {
            free(file->path); /* the seeds as committed are those as made now, as a rule */
            free(file->bytes);
            return;
        }
    file_count++;
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_folder(const char *folder)
{
    struct dirent **names;
    struct stat status;
    if (stat(folder, &status) == 0 && S_ISREG(status.st_mode)) {
        load(folder);
        return;
    }
    int count = scandir(folder, &names, is_file, alphasort);
    if (count < 0) {
        perror(folder);
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        load(path);
        free(names[i]);
    }
    free(names);
}

/* ---- mutations: numbered, so that any one can be run again ---- */

static size_t mutation_count(const struct file *file)
{
    return file->size > SMALL_BYTES ? 0 : file->size * 10;
}

/* The first `size` numbers cut the file there; the next eight times as many flip a bit; the last
 * put the tail of another file behind the cut. */
static void mutate(const struct file *file, size_t number)
{
    if (number < file->size) {
        run(file->bytes, number);
    } else if (number < file->size * 9) {
        size_t bit = number - file->size;
        file->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        run(file->bytes, file->size);
        file->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    } else {
        size_t cut = number - file->size * 9;
        const struct file *other = &files[(number * 2654435761u) % file_count];
        size_t skipped = other->size ? (number * 40503u) % other->size : 0;
        size_t size = cut + other->size - skipped;
        uint8_t *spliced = malloc(size ? size : 1);
        FUZZ_REQUIRE(spliced != NULL);
        memcpy(spliced, file->bytes, cut);
        memcpy(spliced + cut, other->bytes + skipped, other->size - skipped);
        if (size <= 2 * SMALL_BYTES)
            run(spliced, size);
        free(spliced);
    }
}

static unsigned long mutate_all(size_t runs_max)
{
    size_t total = 0, position = 0;
    unsigned long runs = 0;
    for (size_t i = 0; i < file_count; i++)
        total += mutation_count(&files[i]);
    size_t stride = runs_max ? total / runs_max + 1 : 1;
    for (size_t i = 0; i < file_count; i++) {
        size_t count = mutation_count(&files[i]);
        for (size_t number = 0; number < count; number++, position++) {
            if (position % stride != 0)
                continue;
            mutate(&files[i], number);
            runs++;
        }
    }
    if (stride > 1)
        printf("every %zu. of %zu mutations\n", stride, total);
    return runs;
}

int main(int argument_count, char **arguments)
{
    size_t runs_max = 0;
    for (int i = 1; i < argument_count; i++) {
        if (strcmp(arguments[i], "--runs") == 0 && i + 1 < argument_count)
            runs_max = strtoul(arguments[++i], NULL, 10);
        else
            load_folder(arguments[i]);
    }
    if (file_count == 0) {
        fprintf(stderr, "usage: %s [--runs N] FOLDER|FILE...\n", arguments[0]);
        return 2;
    }
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(leave_input);
    for (size_t i = 0; i < file_count; i++)
        run(files[i].bytes, files[i].size);
    unsigned long accepted = fuzz_accepted_count;
    unsigned long runs = mutate_all(runs_max);
    printf("%zu files, %lu of them taken, %lu mutations, %lu taken\n", file_count, accepted, runs,
           fuzz_accepted_count - accepted);
    for (size_t i = 0; i < file_count; i++) {
        free(files[i].path);
        free(files[i].bytes);
    }
    return accepted > 0 ? 0 : 1;
}
