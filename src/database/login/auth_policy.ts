/**
 * What a server may demand before it is trusted: libpq's `require_auth` and
 * `channel_binding`. Without them a server, or an impostor in its place, may
 * ask for the password in clear text, or accept any login.
 */

import { LoginError } from "./login_error.ts";

/** libpq's `channel_binding`. */
export type ChannelBinding = "disable" | "prefer" | "require";

const methods = [
  "none",
  "password",
  "md5",
  "scram-sha-256",
  "gss",
  "sspi",
] as const;

/** A method of authentication, by its name in `require_auth`. */
export type AuthMethod = typeof methods[number];

const channelBindings = ["disable", "prefer", "require"];

/** Whether the text is one of libpq's values. */
export function isChannelBinding(text: string): text is ChannelBinding {
  return channelBindings.includes(text);
}

/**
 * Reads `require_auth`: a list of allowed methods or, each after an exclamation
 * mark, of forbidden ones. Returns undefined for anything else.
 */
export function parseRequireAuth(
  text: string,
): readonly AuthMethod[] | undefined {
  const items = text.split(",").map((item) => item.trim());
  const negated = items.filter((item) => item.startsWith("!"));
  if (negated.length > 0 && negated.length < items.length) return undefined;
  const named = items.map((item) => item.replace(/^!/, ""));
  const known = methods.filter((method) => named.includes(method));
  if (known.length !== named.length) return undefined;
  return negated.length === 0
    ? known
    : methods.filter((method) => !known.includes(method));
}

/** Decides about one login. */
export class AuthPolicy {
  readonly channelBinding: ChannelBinding;
  readonly #allowed: readonly AuthMethod[] | undefined;

  constructor(
    channelBinding: ChannelBinding,
    allowed: readonly AuthMethod[] | undefined,
  ) {
    this.channelBinding = channelBinding;
    this.#allowed = allowed;
  }

  /**
   * Called before anything is answered.
   *
   * @throws {LoginError}
   */
  admit(method: AuthMethod): void {
    if (this.channelBinding === "require" && method !== "scram-sha-256") {
      throw new LoginError(
        "authentication_refused",
        `Channel binding is required, which ${describe(method)} lacks: ` +
          "let the server ask for scram-sha-256 over TLS (pg_hba.conf)",
      );
    }
    if (this.#allowed === undefined || this.#allowed.includes(method)) return;
    throw new LoginError(
      "authentication_refused",
      `require_auth does not allow ${describe(method)}: change what the ` +
        "server asks for (pg_hba.conf), or change require_auth",
    );
  }
}

function describe(method: AuthMethod): string {
  return method === "none"
    ? "a login without authentication"
    : `the method ${method}`;
}
