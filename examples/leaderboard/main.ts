/**
 * A leaderboard on the command line.
 *
 *   node examples/leaderboard/main.ts scores.cairn PLAYER=SCORE...   takes scores, and prints the first ten
 *   node examples/leaderboard/main.ts scores.cairn PLAYER            prints a player's neighbours
 */
import process from "node:process";
import { Leaderboard, type Place } from "./leaderboard.ts";

const [path = "scores.cairn", ...words] = process.argv.slice(2);
const board = await Leaderboard.open(path);

const line = ({ rank, player, score }: Place): string => `${rank}. ${player} ${score}`;
const [player = ""] = words;
if (words.length === 1 && !player.includes("=")) {
  if (board.place(player) === undefined) {
    console.error(`${player} has no score yet`);
    process.exitCode = 3;
  }
  for (const place of board.around(player, 1)) console.log(line(place));
} else {
  for (const word of words) {
    const [name = "", score] = word.split("=");
    if (board.submit(name, Number(score))) console.log(`a new best of ${name}: ${score}`);
  }
  for (const place of board.top(10)) console.log(line(place));
}
await board.close();
