import { Bucket } from "./bucket.ts";
import {
  type Authorizer,
  defaultHttpPolicy,
  type HttpRequest,
} from "./http_client.ts";
import type { ObjectStore } from "./object_store.ts";
import { withoutEndSlashes } from "./object_url.ts";
import { type BucketTuning, defaultPartBytes } from "./s3.ts";
import { type GcsTokenSource, givenToken } from "./given_credentials.ts";
import { AccessTokens, type ServiceAccount } from "./access_tokens.ts";

/** A bucket of Google Cloud Storage. */
export interface GcsOptions {
  bucket: string;
  /** A service account, or a function that gives access tokens. */
  credentials: ServiceAccount | GcsTokenSource;
  /** Default: Google's own endpoint. */
  endpoint?: string | undefined;
}

/** A bucket whose requests carry an access token. */
export function openGcsBucket(
  { bucket, credentials, endpoint }: GcsOptions,
  { policy, partBytes = defaultPartBytes, onCall = () => {} }: BucketTuning =
    {},
): ObjectStore {
  const complete = { ...defaultHttpPolicy, ...policy };
  const base = withoutEndSlashes(endpoint ?? "https://storage.googleapis.com");
  return new Bucket({
    provider: "gcs",
    // A changing request names the generation that it means, and an upload in
    // parts is given up before another one begins.
    lateMs: 0,
    baseUrl: `${base}/${encodeURIComponent(bucket)}`,
    authorizer: bearer(
      typeof credentials === "function"
        ? givenToken(credentials, complete.stallMs)
        : new AccessTokens(credentials, complete),
    ),
    policy: complete,
    partBytes,
    onCall,
  });
}

function bearer(
  tokens: { get(): Promise<string>; forget(): void },
): Authorizer {
  return {
    async authorize({ headers }: HttpRequest) {
      const all = new Headers(headers);
      all.set("authorization", `Bearer ${await tokens.get()}`);
      return all;
    },
    forget: () => tokens.forget(),
  };
}
