# crio-plugin.m4: finds the SDK of crio's plugins.                                                       serial 1
#
# CRIO_CHECK_SDK([MAJOR.MINOR], [ACTION-IF-FOUND], [ACTION-IF-NOT-FOUND])
#   Finds crio-plugin.pc by pkg-config, and checks that the headers are the ones it speaks of and that their ABI is the
#   one asked for: the same major, at least that minor, and while the major is 0 the same minor too. Without an argument any
#   ABI will do. Without the last action a failure ends configure. Sets and substitutes
#     CRIO_PLUGIN_CFLAGS   -I of <crio/...>
#     CRIO_PLUGINDIR       where crio looks for plugins: <dir>/<kind>/<name>.so
#     CRIO_ABI             "0.3"
#
# CRIO_PLUGIN_MODULE(KIND, NAME)
#   A module of that kind: runtime, storage, network or hook. After CRIO_CHECK_SDK. Substitutes
#     CRIO_MODULE_KIND, CRIO_MODULE_NAME
#     CRIO_MODULE_DIR      where to install NAME.so
#     CRIO_MODULE_CFLAGS   for its objects: position independent, nothing visible but the entry
#     CRIO_MODULE_LDFLAGS  for the link: a shared object, every symbol bound at load, none left undefined

AC_DEFUN([CRIO_CHECK_SDK], [
AC_REQUIRE([AC_PROG_CC])dnl
AC_REQUIRE([PKG_PROG_PKG_CONFIG])dnl
crio_sdk_why=
PKG_CHECK_MODULES([CRIO_PLUGIN], [crio-plugin], [], [crio_sdk_why="pkg-config does not know crio-plugin (is PKG_CONFIG_PATH right?)"])
AS_IF([test -z "$crio_sdk_why"], [
  crio_abi_major=`$PKG_CONFIG --variable=abi_major crio-plugin`
  crio_abi_minor=`$PKG_CONFIG --variable=abi_minor crio-plugin`
  CRIO_PLUGINDIR=`$PKG_CONFIG --variable=plugindir crio-plugin`
  # A variable of a package below a sysroot may come with the sysroot in front; modules are looked for without it.
  AS_IF([test -n "$PKG_CONFIG_SYSROOT_DIR"], [CRIO_PLUGINDIR=`AS_ECHO(["$CRIO_PLUGINDIR"]) | sed "s|^$PKG_CONFIG_SYSROOT_DIR/*|/|"`])
  CRIO_ABI=$crio_abi_major.$crio_abi_minor
  crio_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $CRIO_PLUGIN_CFLAGS"
  AC_MSG_CHECKING([whether <crio/plugin.h> has ABI $CRIO_ABI])
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <crio/plugin.h>]],
    [[typedef char same[(CRIO_ABI_MAJOR == $crio_abi_major && CRIO_ABI_MINOR == $crio_abi_minor) ? 1 : -1]; (void)sizeof(same);]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     crio_sdk_why="the headers found and crio-plugin.pc are of different ABIs"])
  CPPFLAGS=$crio_save_CPPFLAGS])
m4_ifnblank([$1], [AS_IF([test -z "$crio_sdk_why"], [
  AC_MSG_CHECKING([for the plugin ABI $1])
  crio_want_major=`AS_ECHO(["$1"]) | sed 's/\..*//'`
  crio_want_minor=`AS_ECHO(["$1"]) | sed 's/.*\.//'`
  AS_IF([test "$crio_abi_major" -ne "$crio_want_major" || test "$crio_abi_minor" -lt "$crio_want_minor" ||
	 { test "$crio_abi_major" -eq 0 && test "$crio_abi_minor" -ne "$crio_want_minor"; }],
    [AC_MSG_RESULT([no, $CRIO_ABI])
     crio_sdk_why="the SDK has ABI $CRIO_ABI, $1 is needed"],
    [AC_MSG_RESULT([yes, $CRIO_ABI])])])])
AC_SUBST([CRIO_PLUGIN_CFLAGS])
AC_SUBST([CRIO_PLUGINDIR])
AC_SUBST([CRIO_ABI])
AS_IF([test -z "$crio_sdk_why"], [m4_default([$2], [:])],
  [m4_default([$3], [AC_MSG_ERROR([crio's plugin SDK: $crio_sdk_why])])])
])

AC_DEFUN([CRIO_PLUGIN_MODULE], [
AC_REQUIRE([AC_PROG_CC])dnl
m4_case([$1], [runtime], [], [storage], [], [network], [], [hook], [],
  [m4_fatal([CRIO_PLUGIN_MODULE: kind '$1': expected runtime, storage, network or hook])])dnl
m4_bmatch([$2], [^[a-z][a-z0-9_]*$], [],
  [m4_fatal([CRIO_PLUGIN_MODULE: name '$2': expected a lower-case letter, then letters, digits and _])])dnl
CRIO_MODULE_KIND=$1
CRIO_MODULE_NAME=$2
CRIO_MODULE_DIR=$CRIO_PLUGINDIR/m4_if([$1], [hook], [hooks], [$1])
CRIO_MODULE_CFLAGS="-fPIC -fvisibility=hidden"
CRIO_MODULE_LDFLAGS="-shared -Wl,-z,now -Wl,-z,defs"
AC_SUBST([CRIO_MODULE_KIND])
AC_SUBST([CRIO_MODULE_NAME])
AC_SUBST([CRIO_MODULE_DIR])
AC_SUBST([CRIO_MODULE_CFLAGS])
AC_SUBST([CRIO_MODULE_LDFLAGS])
])
