/**
 * Splits a connection URL into a URL for a program's arguments and a password
 * for its environment: everybody on the machine can read a command line.
 */
export function loginOf(
  address: string,
): { url: string; env: { PGPASSWORD?: string } } {
  const url = new URL(address);
  const { password } = url;
  url.password = "";
  return {
    url: url.href,
    env: password === "" ? {} : { PGPASSWORD: decodeURIComponent(password) },
  };
}
