/* mem.h: giving back memory that only the start needed. */
#ifndef UTIL_MEM_H
#define UTIL_MEM_H

/* Trims the heap, and drops the program's and libraries' code pages that were touched so far: loading sixty libraries runs
 * their relocations and constructors once, and keeps about 10 MB of code resident that serving never uses. Pages that are
 * needed again come back from the page cache. Linux only looks at executable, file-backed, never written mappings here. */
void mem_give_back(void);

#endif
