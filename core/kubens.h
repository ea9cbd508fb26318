/* kubens.h: the mount namespace that the kubelet and the container runtime of a node share, named by the environment variable KUBENSMNT. */
#ifndef KUBENS_H
#define KUBENS_H

/* Joins the mount namespace that the file named by KUBENSMNT is; nothing when the variable is unset or empty. What went wrong is kept for
 * kubens_log: the program then goes on in the namespace it was started in, as CRI-O does. The root directory and the working directory
 * become the namespace's root. To be called first, before any other thread is there: the kernel refuses it to more than one. */
void kubens_enter(void);

/* Says once what became of it: at level info when it was joined, at warning when not. Main thread, once the log is set up. */
void kubens_log(void);

#endif
