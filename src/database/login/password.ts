/**
 * The password of a login. Where passwords last for minutes, as tokens of a
 * cloud's identity service do, it is a function, which is asked whenever a server
 * asks for a password: never for a server that lets us in without one, or asks in
 * a way that is not allowed.
 */

import { isStreamStorageError } from "../../storage/errors.ts";
import { LoginError } from "./login_error.ts";

/** A password, or a function that gives the one of the moment. */
export type PasswordSource = string | (() => string | Promise<string>);

/**
 * The function gave no password, which may pass. What it has thrown is not kept:
 * nobody knows what its text and its fields hold.
 */
export class PasswordUnavailableError extends Error {
  override readonly name = "PasswordUnavailableError";
}

/**
 * The password to send now.
 *
 * @throws {PasswordUnavailableError} the function has failed.
 * @throws {StreamStorageError} the function's own, as it is.
 * @throws {LoginError} what it gave can't be a password.
 */
export async function readPassword(source: PasswordSource): Promise<string> {
  const given: unknown = typeof source === "string"
    ? source
    : await askFor(source);
  if (typeof given !== "string") {
    throw unfit("The function `password` gave no text");
  }
  if (given.includes("\0")) {
    throw unfit("Expected a password without a zero character");
  }
  if (given !== "") return given;
  throw unfit(
    typeof source === "string"
      ? "The server asks for a password, and there is none"
      : "The function `password` gave an empty text",
  );
}

async function askFor(source: () => unknown): Promise<unknown> {
  try {
    return await source();
  } catch (error) {
    if (isStreamStorageError(error)) throw error;
    throw new PasswordUnavailableError(
      "The function `password` has failed (what it threw is not shown, it may " +
        "hold a secret; a StreamStorageError would be)",
    );
  }
}

function unfit(message: string): LoginError {
  return new LoginError("login_incomplete", message);
}
