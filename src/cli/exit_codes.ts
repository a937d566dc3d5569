/** The exit codes of commands, for scripts. */

import type { LoginFault } from "../database/login/login_error.ts";
import { StreamStorageError } from "../storage/errors.ts";

/**
 * 0: all is well. 1: there are findings or differences. 2: the usage or an
 * option is wrong, or the work failed. 3: no server was reached, or the server
 * refused the login. 130: interrupted.
 */
export type ExitCode = 0 | 1 | 2 | 3 | 130;

/** Reasons of `BAD_CONFIG` that are about the login, not about an option. */
const loginReasons: ReadonlySet<unknown> = new Set<
  LoginFault | "login_refused"
>(
  [
    "authentication_refused",
    "authentication_unsupported",
    "login_refused",
    "server_unproven",
    "tls_failed",
    "tls_unavailable",
  ],
);

/** The exit code for an error. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof StreamStorageError)) return 2;
  switch (error.code) {
    case "CANCELED":
      return 130;
    case "UNAVAILABLE":
      return 3;
    default:
      return loginReasons.has(error.details.reason) ? 3 : 2;
  }
}
