/**
 * SASLprep (RFC 4013), by which both sides of SCRAM unify the ways to write a
 * password. Like PostgreSQL, we use a password unchanged if the profile refuses
 * it.
 */

/** RFC 3454, C.1.2: spaces that are mapped to the plain one. */
const spaces = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu;

/** RFC 3454, B.1: characters that are removed. */
const nothings =
  /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu;

/** C.2 to C.9: controls, private use, surrogates, tags and the like. */
const prohibited =
  /[\p{Cc}\p{Co}\p{Cs}\u06dd\u070f\u180e\u2028\u2029\u200e\u200f\u202a-\u202e\u2061-\u2063\u206a-\u206f\ufff9-\ufffd\u2ff0-\u2ffb\u0340\u0341\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]|[\ufdd0-\ufdef]|[\ufffe\uffff]|\p{Cn}/u;

/** RFC 3454, D.1: letters that run from right to left. */
const fromTheRight =
  /[\u05be\u05c0\u05c3\u05d0-\u05ea\u05f0-\u05f4\u061b\u061f\u0621-\u063a\u0640-\u064a\u066d-\u066f\u0671-\u06d5\u06dd\u06e5\u06e6\u06fa-\u06fe\u0700-\u070d\u0710\u0712-\u072c\u0780-\u07a5\u07b1\u200f\ufb1d\ufb1f-\ufb28\ufb2a-\ufb36\ufb38-\ufb3c\ufb3e\ufb40\ufb41\ufb43\ufb44\ufb46-\ufbb1\ufbd3-\ufd3d\ufd50-\ufd8f\ufd92-\ufdc7\ufdf0-\ufdfc\ufe70-\ufe74\ufe76-\ufefc]/u;

/** The password in the form that is hashed. */
export function saslprep(password: string): string {
  if (/^[\x20-\x7e]*$/.test(password)) return password;
  const prepared = password
    .replace(spaces, " ")
    .replace(nothings, "")
    .normalize("NFKC");
  const isRefused = prepared === "" || prohibited.test(prepared) ||
    !isOneDirection(prepared);
  return isRefused ? password : prepared;
}

/** RFC 3454, section 6. */
function isOneDirection(text: string): boolean {
  const letters = Array.from(text);
  if (!letters.some((letter) => fromTheRight.test(letter))) return true;
  const runsBack = (letter: string | undefined) =>
    letter !== undefined && fromTheRight.test(letter);
  return runsBack(letters[0]) && runsBack(letters.at(-1)) &&
    !letters.some((letter) => /\p{L}/u.test(letter) && !runsBack(letter));
}
