/**
 * The password of a login. Where passwords live for minutes, like the tokens of
 * a cloud's identity service, it is a function. The function is called whenever
 * a server asks for a password, but not for a server that needs none, or that
 * asks by a forbidden method.
 */

import { isStreamStorageError } from "../../storage/errors.ts";
import { LoginError } from "./login_error.ts";

/** A password, or a function that returns the current one. */
export type PasswordSource = string | (() => string | Promise<string>);

/**
 * The function returned no password, which may be temporary. Its error is not
 * kept, because its text and its fields may hold anything.
 */
export class PasswordUnavailableError extends Error {
  override readonly name = "PasswordUnavailableError";
}

/**
 * The password to send now.
 *
 * @throws {PasswordUnavailableError} the function has failed.
 * @throws {StreamStorageError} the function's own error, unchanged.
 * @throws {LoginError} the value can't be a password.
 */
export async function readPassword(source: PasswordSource): Promise<string> {
  const given: unknown = typeof source === "string"
    ? source
    : await askFor(source);
  if (typeof given !== "string") {
    throw unfit("The function `password` returned no text");
  }
  if (given.includes("\0")) {
    throw unfit("Expected a password without a zero character");
  }
  if (given !== "") return given;
  throw unfit(
    typeof source === "string"
      ? "The server asks for a password, but there is none"
      : "The function `password` returned an empty text",
  );
}

async function askFor(source: () => unknown): Promise<unknown> {
  try {
    return await source();
  } catch (error) {
    if (isStreamStorageError(error)) throw error;
    throw new PasswordUnavailableError(
      "The function `password` has failed (its error is not shown, because it " +
        "may hold a secret; a StreamStorageError would be shown)",
    );
  }
}

function unfit(message: string): LoginError {
  return new LoginError("login_incomplete", message);
}
