// Lets node read our TypeScript sources. Loaded by its path, so that `tsx` is found from here and not from the working directory.
import 'tsx';
