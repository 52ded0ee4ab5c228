/**
 * A process that writes the checkpoint `argv[2]` over and over, as `argv[3]` ranks (default 1) in its one thread, telling each number it
 * has saved; for tests that kill it.
 */
import { tf } from '../tensors.ts';
import { CheckpointFolderIO } from './checkpoint-folder.ts';
import { allInWorld } from './world.testing.ts';

const [, , folder = '', worldSize = '1'] = process.argv;
const io = new CheckpointFolderIO();
await allInWorld(Number(worldSize), async (group) => {
  for (let number = 1; ; number++) {
    const tensors = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`, tf.fill([100_000], number)]));
    const model = { tensors, values: {}, shards: new Set(Object.keys(tensors)) };
    await io.saveCheckpoint(folder, { statefuls: { model }, values: { number } }, group);
    for (const tensor of Object.values(tensors)) tensor.dispose();
    if (group.rank === 0) console.log(number);
  }
});
