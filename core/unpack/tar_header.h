/*
 * tar_header.h: where the fields of a tar header block of TAR_BLOCK bytes are (POSIX.1-2001 ustar; GNU's own where named so), for
 * who reads them (tar.c) and who writes them (tar_write.c).
 */
#ifndef UNPACK_TAR_HEADER_H
#define UNPACK_TAR_HEADER_H

enum {
	TAR_AT_NAME = 0,
	TAR_AT_MODE = 100,
	TAR_AT_UID = 108,
	TAR_AT_GID = 116,
	TAR_AT_SIZE = 124,
	TAR_AT_MTIME = 136,
	TAR_AT_SUM = 148,
	TAR_AT_TYPE = 156,
	TAR_AT_LINK = 157,
	TAR_AT_MAGIC = 257,
	TAR_AT_MAJOR = 329,
	TAR_AT_MINOR = 337,
	TAR_AT_PREFIX = 345,
	TAR_AT_GNU_ATIME = 345,
	TAR_AT_GNU_CTIME = 357,
	TAR_AT_GNU_SPARSE = 386,
	TAR_AT_GNU_EXTENDED = 482,
	TAR_AT_GNU_REALSIZE = 483,
	TAR_AT_STAR_TRAILER = 508,
	TAR_SUM_LEN = 8,
	TAR_NAME_LEN = 100 /* of a name and of a link's target, without an end where they fill it */
};

#endif
