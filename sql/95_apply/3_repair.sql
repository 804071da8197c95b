select pgembedd._repair();
