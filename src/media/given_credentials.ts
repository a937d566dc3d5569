/**
 * Credentials from a function of the application, for machines that have an
 * identity instead of keys: temporary keys of AWS, access tokens of Google.
 */

import { isStreamStorageError } from "../storage/errors.ts";
import {
  type Credential,
  KeptCredential,
  keptUntil,
} from "./kept_credential.ts";
import { ReplyFault } from "./reply_fault.ts";

/** Keys of S3, as the credential providers of AWS's SDK return them. */
export interface S3Credentials {
  /** The id of the key. */
  accessKeyId: string;
  /** Never shown in an error or a log. */
  secretAccessKey: string;
  /** For temporary keys only. Never shown. */
  sessionToken?: string | undefined;
  /** When the keys expire. */
  expiration?: Date | undefined;
}

/** An access token of Google's, with the right to read and write objects. */
export interface GcsAccessToken {
  /** Never shown in an error or a log. */
  token: string;
  /** When the token expires. */
  expiration?: Date | undefined;
}

/** Returns the current keys. */
export type S3CredentialsSource = () => S3Credentials | Promise<S3Credentials>;

/** Returns the current token, alone or with the time at which it expires. */
export type GcsTokenSource = () =>
  | GcsAccessToken
  | string
  | null
  | undefined
  // Google's `getAccessToken()` may return nothing, by its type.
  | Promise<GcsAccessToken | string | null | undefined>;

/** Credentials without an expiry time: their source may have cached them. */
const defaultLifeMs = 60_000;

/** Asks the function for keys. */
export function givenKeys(
  source: S3CredentialsSource,
  withinMs: number,
): KeptCredential<S3Credentials> {
  return new KeptCredential(async () => {
    const given = await askFor(source, withinMs) as Partial<S3Credentials>;
    const { accessKeyId, secretAccessKey, sessionToken } = given ?? {};
    const isFit = isWord(accessKeyId) && isWord(secretAccessKey) &&
      (sessionToken === undefined || isWord(sessionToken));
    if (!isFit) throw malformed();
    const keys = { accessKeyId, secretAccessKey, sessionToken };
    return withEnd(keys, given.expiration);
  });
}

/** Asks the function for a token. */
export function givenToken(
  source: GcsTokenSource,
  withinMs: number,
): KeptCredential<string> {
  return new KeptCredential(async () => {
    const given = await askFor(source, withinMs) as Awaited<
      ReturnType<GcsTokenSource>
    >;
    const { token, expiration }: Partial<GcsAccessToken> =
      typeof given === "string" ? { token: given } : given ?? {};
    if (!isWord(token)) throw malformed();
    return withEnd(token, expiration);
  });
}

/**
 * Whether a header may hold this text. The runtime's error for any other text
 * would quote it.
 */
export function isWord(text: unknown): text is string {
  return typeof text === "string" && text.length <= 16_384 &&
    /^[\x21-\x7e]+$/.test(text);
}

function withEnd<T>(value: T, expiration: unknown): Credential<T> {
  const now = Date.now();
  if (expiration === undefined) return { value, until: now + defaultLifeMs };
  const end = expiration instanceof Date ? expiration.getTime() : NaN;
  if (Number.isNaN(end)) throw malformed();
  return { value, until: keptUntil(end, now) };
}

async function askFor(
  source: () => unknown,
  withinMs: number,
): Promise<unknown> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(unavailable()), withinMs);
  try {
    return await Promise.race([source(), late.promise]);
  } catch (error) {
    if (isStreamStorageError(error)) throw error;
    // The function's other errors are dropped, because they may hold a secret.
    throw unavailable();
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(): ReplyFault {
  return new ReplyFault({ reason: "credentials_unavailable", retryable: true });
}

function malformed(): ReplyFault {
  return new ReplyFault({ reason: "credentials_malformed", retryable: false });
}
