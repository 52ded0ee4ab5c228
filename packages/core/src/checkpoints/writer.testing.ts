/** A process that writes the checkpoint `argv[2]` over and over, telling each number it has saved; for tests that kill it. */
import { tf } from '../tensors.ts';
import { CheckpointFolderIO } from './checkpoint-folder.ts';

const folder = process.argv[2] as string;
const io = new CheckpointFolderIO();
for (let number = 1; ; number++) {
  const tensors = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`t${i}`, tf.fill([100_000], number)]));
  await io.saveCheckpoint(folder, { statefuls: { model: { tensors, values: {} } }, values: { number } });
  tf.disposeVariables();
  for (const tensor of Object.values(tensors)) tensor.dispose();
  console.log(number);
}
