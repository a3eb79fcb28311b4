import { closeCodes, type Problem } from "./contract.ts";
import { WatchError } from "./errors.ts";

/** How one connection of a watch ended. */
export type Outcome =
  /** By an `end` message, or because the caller wanted it. */
  | { how: "end" }
  /** By an `error` message, or by an answer that is a problem. */
  | { how: "problem"; problem: Problem }
  /** The socket closed. `opened`: it had stood. The problem is the last one that concerned the socket. */
  | { how: "closed"; code: number; opened: boolean; problem?: Problem | undefined }
  /** By an HTTP answer that is not the gateway's. */
  | { how: "refused"; status: number }
  /** Cut, silent or never reached; `retry` is how long the gateway asked to wait, in milliseconds. */
  | { how: "lost"; reason: string; reached: boolean; retry?: number | undefined }
  /** The reader of the watch is too slow; what came so far is queued. */
  | { how: "behind" };

/** What to do next. */
export type Next =
  | { do: "stop" }
  | { do: "fail"; error: WatchError }
  /** Connect again after at least `wait` milliseconds; `error` is why. */
  | { do: "resume"; wait: number; error?: WatchError }
  /** What should come next is gone: begin anew with a snapshot. */
  | { do: "resync"; reason: "compacted" | "too_far_behind" | "epoch_changed" }
  /** The credentials are no good any more: get new ones, then resume. */
  | { do: "authenticate"; error: WatchError };

/** Decides by the outcome alone; what the caller wishes is for the caller to know. */
export function decide(outcome: Outcome): Next {
  switch (outcome.how) {
    case "end":
      return { do: "stop" };
    case "behind":
      return { do: "resume", wait: 0 };
    case "problem":
      return byProblem(outcome.problem);
    case "closed":
      return outcome.problem ? byProblem(outcome.problem) : byCode(outcome.code);
    case "refused":
      return byStatus(outcome.status);
    case "lost":
      return { do: "resume", wait: outcome.retry ?? 0, error: new WatchError("lost", outcome.reason) };
  }
}

// Problems that another connection does not have, though the same request has it again.
const passing = new Set(["slow_consumer", "draining", "internal", "upstream_corrupt"]);

function byProblem(problem: Problem): Next {
  const error = new WatchError(problem.code, `${problem.title}: ${problem.detail}`, problem);
  switch (problem.code) {
    case "compacted":
    case "too_far_behind":
    case "epoch_changed":
      return { do: "resync", reason: problem.code };
    case "unauthenticated":
    case "auth_expired":
      return { do: "authenticate", error };
    case "future_revision": // would be there some day, but not for a start that came from this store
      return { do: "fail", error };
  }
  if (problem.retryable || passing.has(problem.code)) return { do: "resume", wait: problem.retry_after_ms ?? 0, error };
  return { do: "fail", error };
}

function byCode(code: number): Next {
  const known = closeCodes[code];
  const error = new WatchError("closed", `the socket closed with ${code}${known ? ` (${known.name})` : ""}`);
  if (code === 4401) return { do: "authenticate", error };
  // A code that only a proxy or a later version can send says nothing against trying again.
  return known?.reconnect === "no" ? { do: "fail", error } : { do: "resume", wait: 0, error };
}

function byStatus(status: number): Next {
  const error = new WatchError("refused", `the answer was HTTP ${status}, and not the gateway's`);
  const passes = status >= 500 || status === 408 || status === 429;
  return passes ? { do: "resume", wait: 0, error } : { do: "fail", error };
}
