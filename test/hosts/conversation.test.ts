/** A page's talk with the owner of its store, message by message: what an owner is asked that was not there before. */
import { describe, expect, test } from "vitest";
import { Conversation } from "../../store/connection/conversation.ts";
import type { CallsMessage } from "../../store/connection/wire.ts";
import { codeOf } from "../thrown.ts";

describe("a conversation", () => {
  // A walk of the owner before would have gone on in another one's, of the same number.
  test.each(["next", "changes", "backupPart"] as const)(
    "asks no other owner for what the one before had begun: %s, while it leaves",
    async (call) => {
      const conversation = new Conversation();
      const asked: CallsMessage[] = [];
      const send = (message: CallsMessage): void => {
        asked.push(message);
      };
      conversation.attach({ type: "owner", owner: "first", recoveredVersion: 0 }, send);
      conversation.leave(1);
      const late = codeOf(() => conversation.ask(call, call === "next" ? [1, 64, undefined] : [1]));
      const plain = conversation.ask("count", [{}]);
      conversation.attach({ type: "owner", owner: "second", recoveredVersion: 0 }, send);
      expect(await late).toBe("SNAPSHOT_EXPIRED");
      expect(asked.map(({ owner, id, calls }) => [owner, id, calls[0]])).toEqual([["second", 1, "count"]]);
      conversation.answer({ type: "answers", owner: "second", ids: [1], values: [7], failures: [], durableVersion: 0 });
      expect(await plain).toBe(7);
    },
    5000,
  );
});
