/* selfsigned.h: a certificate for a server that has none. */
#ifndef STREAM_SELFSIGNED_H
#define STREAM_SELFSIGNED_H

#include "core/util/err.h"

/*
 * Makes a key and a certificate of the host's name, localhost and the loopback addresses, good for a year, in these files (mode 0600)
 * and the directories that they need; when both are missing, else it does nothing. Whoever wants to trust it copies the certificate.
 */
int selfsigned_make(const char *cert, const char *key, crio_err *err);

#endif
