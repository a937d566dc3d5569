/**
 * The shell script between this process and the server. It is the parent of
 * every PostgreSQL process and holds the read end of a pipe whose only write
 * end is ours, so it outlives this process and notices its end in every case.
 *
 * It runs with the rights of the server's user, and it alone works in that
 * user's directories: this process neither reads nor writes there. So all
 * communication goes through the script's standard input and output.
 *
 * Its input starts with the verifier of the password and the lines of three
 * files; a "." follows each of these four. Then the script answers each line
 * "ready?" with "waiting", with "ready" or, when a process ended unasked, with
 * "ended phase status" and the tail of the log; a "." follows each answer. A
 * line "accepted" says that the caller has received the server. The end of the
 * input ends everything at any moment.
 *
 * A signal may get lost while a child is between fork and its own signal
 * handlers, so the script repeats a request to stop each second. After ten
 * seconds it sends SIGQUIT, on which PostgreSQL kills processes that do not
 * obey.
 */
export const supervisorScript = `
run=$1 data=$2 cluster=$3 signal=$4 native=$5
shift 5
bin=$native/bin
umask 077
child= stopping= asked=0 phase= status=

# Signals of the terminal are for the host, whose end ends the script, too.
trap '' HUP INT TERM
stop() {
  stopping=yes interrupted=yes asked=$((asked + 1))
  [ "$asked" -le 10 ] || signal=QUIT
  [ -z "$child" ] || kill -s "$signal" "$child"
}
trap stop USR1
exec 3<&0 4>&1 </dev/null >/dev/null

# take_lines FILE: reads up to the "."; fails if the host ends before it.
take_lines() {
  while IFS= read -r line <&3; do
    [ "$line" != . ] || return 0
    printf '%s\\n' "$line"
  done >"$run/$1"
  return 1
}

# server.pid is the server's own and new; once it exists, postmaster.pid, which
# outlives a crash, is this server's, too. Its eighth line is the state.
is_ready() {
  [ -s "$run/server.pid" ] && [ -f "$data/postmaster.pid" ] || return 1
  while read -r state; do
    [ "$state" != ready ] || return 0
  done <"$data/postmaster.pid"
  return 1
}

answer() {
  if [ -s "$run/ended" ]; then
    printf 'ended %s\\n' "$(cat "$run/ended")"
    if [ -f "$run/log" ]; then tail -c 20000 "$run/log" | sed 's/^/ /'; fi
  elif is_ready; then echo ready
  else echo waiting
  fi
  echo .
}

# A host that ends before it reads the answer must not end the script by SIGPIPE.
watch_host() {
  trap '' PIPE
  trap 'kill -s USR1 "$!"; wait "$!"; exit' USR1
  while read -r line <&3; do
    case $line in
      accepted) : >"$run/accepted" ;;
      *) answer >&4 ;;
    esac
  done
  while kill -s USR1 $$; do
    sleep 1 &
    wait "$!"
  done
}

# run_phase NAME INPUT COMMAND...: a signal interrupts a wait, so wait again.
run_phase() {
  [ -z "$stopping" ] || return 1
  phase=$1 input=$2
  shift 2
  LD_LIBRARY_PATH=$run/lib:$native/lib "$@" <"$input" >>"$run/log" 2>&1 3<&- 4>&- &
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
  if [ "$cluster" = temporary ]; then set -- --no-sync; else set --; fi
  run_phase initdb /dev/null "$bin/initdb" -D "$data" \\
    --username=postgres --auth=scram-sha-256 --pwfile="$run/verifier" \\
    --encoding=UTF8 --locale=C --locale-provider=builtin \\
    --builtin-locale=C.UTF-8 --no-instructions "$@" || return
  : >"$run/made"
}

# The old password is stored nowhere, so an old cluster gets the new one. Its
# settings must not log the statement; only fatal errors are logged.
set_password() {
  IFS= read -r verifier <"$run/verifier"
  printf "ALTER ROLE postgres PASSWORD '%s'\\n" "$verifier" >"$run/statement"
  run_phase password "$run/statement" "$bin/postgres" --single -D "$data" \\
    -c data_directory="$data" -c exit_on_error=on -c log_destination=stderr \\
    -c log_min_messages=fatal -c log_min_error_statement=panic postgres
}

serve() {
  # Otherwise the server complains that the file is missing.
  : >"$run/postgresql.auto.conf"
  run_phase settings /dev/null "$bin/postgres" -D "$run" \\
    -c config_file="$run/settings.conf" -C server_version "$@" || return
  case $cluster in
    existing) set_password ;;
    foreign) ;;
    *) make_cluster ;;
  esac || return
  rm -f "$run/verifier" "$run/statement"
  run_phase server /dev/null "$bin/postgres" -D "$data" \\
    -c data_directory="$data" -c config_file="$run/server.conf" "$@"
}

# mkdir proves that the directory is new, so it is neither foreign nor a link.
if ! why=$( { mkdir "$run" && mkdir "$run/lib"; } 2>&1); then
  printf 'ended run 1\\n %s\\n.\\n' "$why" >&4
  exit
fi
while [ "$1" != -- ]; do
  ln -s "$1" "$run/lib/$2"
  shift 2
done
shift
watcher=
if take_lines verifier && take_lines settings.conf &&
  take_lines server.conf && take_lines pg_hba.conf; then
  watch_host &
  watcher=$!
  exec 4>&-
  # What is removed below is this very directory, wherever its path leads later.
  if [ "$cluster" = temporary ] || cd "$data"; then serve "$@"
  else phase=directory status=1
  fi
  if [ -z "$stopping" ]; then
    echo "$phase $status" >"$run/ended"
    wait "$watcher"
  fi
  kill -s USR1 "$watcher"
  wait "$watcher"
fi

# The next start must not find a new cluster that no caller ever received.
if [ "$cluster" = new ] && [ -e "$run/made" ] && [ ! -e "$run/accepted" ] &&
  [ ! -e postmaster.pid ]; then
  rm -rf ./*
fi
rm -rf "$run" || { sleep 1; rm -rf "$run"; }
`;
