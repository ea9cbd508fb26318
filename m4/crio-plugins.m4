# CRIO_PLUGIN(KIND, NAME, DEFAULT, [CONDITION])
# --with-KIND-NAME=shared|static|no. CONDITION is shell code that fails when the plugin cannot be built here.
# Sets the conditionals PLUGIN_<KIND>_<NAME>_SHARED and _STATIC and the variable PLUGIN_<KIND>_<NAME>_LDFLAGS, adds static ones to crio's -dlpreopen list, and a row
# to the summary.
AC_DEFUN([CRIO_PLUGIN], [
  m4_pushdef([var], [plugin_$1_$2])
  AC_ARG_WITH([$1-$2], [AS_HELP_STRING([--with-$1-$2=shared|static|no], [build the $1 plugin $2 @<:@$3@:>@])],
    [var=$withval], [var=m4_default([$3], [shared])])
  AS_CASE([$var], [yes], [var=shared], [shared|static|no], [],
    [AC_MSG_ERROR([--with-$1-$2: expected shared, static or no, got '$var'])])
  m4_ifnblank([$4], [AS_IF([test "$var" != no], [AS_IF([$4], [], [
    AS_IF([test -n "$with_$1_$2"], [AC_MSG_ERROR([--with-$1-$2: its library was not found])])
    var=no])])])
  AM_CONDITIONAL([PLUGIN_]m4_toupper([$1_$2])[_SHARED], [test "$var" = shared])
  AM_CONDITIONAL([PLUGIN_]m4_toupper([$1_$2])[_STATIC], [test "$var" = static])
  AS_IF([test "$var" = static], [
    CRIO_DLPREOPEN="$CRIO_DLPREOPEN -dlpreopen plugins/$1/$2.la"
    CRIO_DLPREOPEN_DEPS="$CRIO_DLPREOPEN_DEPS plugins/$1/$2.la"])
  AS_IF([test "$var" = static], [m4_toupper([PLUGIN_$1_$2_LDFLAGS])='$(PLUGIN_STATIC_LDFLAGS)'],
    [m4_toupper([PLUGIN_$1_$2_LDFLAGS])='$(PLUGIN_LDFLAGS)'])
  AC_SUBST(m4_toupper([PLUGIN_$1_$2_LDFLAGS]))
  crio_plugin_summary="$crio_plugin_summary
    $1/$2: $var"
  m4_popdef([var])
])
