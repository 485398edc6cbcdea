/* Numbers where the locale writes 1,5: a program may have called setlocale, and this machine may have no such
 * locale, so strtod and snprintf behave here as they would in it. */
#define _POSIX_C_SOURCE 200809L

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double comma_strtod(const char *text, char **end)
{
    char copy[100];
    size_t i = 0;
    (void)end;
    for (; text[i] && text[i] != '.' && i < sizeof copy - 1; i++) /* it stops at a point */
        copy[i] = text[i] == ',' ? '.' : text[i];
    copy[i] = 0;
    return strtod(copy, NULL);
}

static int comma_snprintf(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    int written;
    va_start(arguments, format);
    written = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    if (!strcmp(format, "%.1f"))
        *strchr(out, '.') = ',';
    return written;
}

#define strtod comma_strtod
#define snprintf comma_snprintf
#include "../../../clients/c/channelmesh.c"

int main(void)
{
    double number = 0;
    if (cm_json_number("{\"a\":-1.75e1}", 13, "a", &number) != CM_OK || number * 2 > -34.9 || number * 2 < -35.1) {
        printf("%f\n", number);
        return 1;
    }
    puts("ok");
    return 0;
}
