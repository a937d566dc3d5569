/**
 * The shell script between us and the server. It is the parent of every
 * PostgreSQL process and holds the read end of a pipe whose only write end is
 * ours, so it outlives us and notices our end however it comes about.
 *
 * Protocol on its standard input: a line with the password starts the work; a
 * line after that says that the server was handed to the caller; the end of
 * the input, at any moment, ends everything.
 *
 * In its run directory it finds the binaries, see `prepareBinaries`, keeps `log`, the output of all, and writes `ended`,
 * "phase status", when a process ended that nobody asked to end.
 *
 * A signal may get lost while a child is between fork and its own signal
 * handlers, so a stop is asked for again each second, and after ten seconds
 * more firmly: SIGQUIT, on which PostgreSQL kills what does not obey.
 */
export const supervisorScript = `
run=$1 data=$2 cluster=$3 signal=$4
shift 4
bin=$run/native/bin
umask 077
child= stopping= asked=0 phase= status=

# The terminal's signals are for the host; its end will tell us.
trap '' HUP INT TERM
stop() {
  stopping=yes interrupted=yes asked=$((asked + 1))
  [ "$asked" -le 10 ] || signal=QUIT
  [ -z "$child" ] || kill -s "$signal" "$child"
}
trap stop USR1
exec 3<&0 </dev/null

watch_host() {
  trap 'kill -s USR1 "$!"; wait "$!"; exit' USR1
  while read -r _ <&3; do : >"$run/accepted"; done
  while kill -s USR1 $$; do
    sleep 1 &
    wait "$!"
  done
}

# run_phase NAME INPUT COMMAND...: a signal cuts a wait short, so wait again.
run_phase() {
  [ -z "$stopping" ] || return 1
  phase=$1 input=$2
  shift 2
  LD_LIBRARY_PATH=$run/lib:$run/native/lib "$@" <"$input" >>"$run/log" 2>&1 3<&- &
  child=$!
  interrupted=yes
  while [ -n "$interrupted" ]; do
    interrupted=
    wait "$child"
    status=$?
  done
  child=
  return "$status"
}

make_cluster() {
  printf '%s\\n' "$password" >"$run/password"
  if [ "$cluster" = temporary ]; then set -- --no-sync; else set --; fi
  run_phase initdb /dev/null "$bin/initdb" -D "$data" \\
    --username=postgres --auth=scram-sha-256 --pwfile="$run/password" \\
    --encoding=UTF8 --locale=C --locale-provider=builtin \\
    --builtin-locale=C.UTF-8 --no-instructions "$@" || return
  : >"$run/made"
}

# Nothing keeps the old password, so an old cluster gets the new one.
set_password() {
  printf "ALTER ROLE postgres PASSWORD '%s'\\n" "$password" >"$run/password"
  run_phase password "$run/password" "$bin/postgres" --single \\
    -D "$data" -c exit_on_error=on -c log_min_error_statement=panic postgres
}

serve() {
  run_phase settings /dev/null "$bin/postgres" -D "$run" \\
    -c config_file=/dev/null -C server_version "$@" || return
  if [ "$cluster" = existing ]; then set_password; else make_cluster; fi ||
    return
  rm -f "$run/password"
  run_phase server /dev/null "$bin/postgres" -D "$data" "$@"
}

watcher=
if IFS= read -r password <&3; then
  watch_host &
  watcher=$!
  serve "$@"
  if [ -z "$stopping" ]; then
    echo "$phase $status" >"$run/ended"
    wait "$watcher"
  fi
  kill -s USR1 "$watcher"
  wait "$watcher"
fi

# A new cluster that no caller ever got must not be found by the next start.
if [ "$cluster" = new ] && [ -e "$run/made" ] && [ ! -e "$run/accepted" ] &&
  [ ! -e "$data/postmaster.pid" ]; then
  rm -rf "$data"/*
fi
rm -rf "$run" || { sleep 1; rm -rf "$run"; }
`;
