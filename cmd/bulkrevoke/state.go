package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// stateHint is what to do where state cannot be kept.
const stateHint = "Set BULKREVOKE_STATE to a folder that can be written to and outlives the run."

// stateFolder returns where locks, last-call stamps, remembered preflights and
// access tokens lie: $BULKREVOKE_STATE, else the user's state folder.
func stateFolder(lookup func(string) (string, bool)) (string, error) {
	if dir, _ := lookup(stateVariable); dir != "" {
		return filepath.Abs(dir)
	}
	if runtime.GOOS == "windows" {
		if dir, _ := lookup("LocalAppData"); dir != "" {
			return filepath.Join(dir, "bulkrevoke"), nil
		}
		return "", refusef(stateHint, "there is no folder for state: LocalAppData is not set")
	}
	mac := runtime.GOOS == "darwin" || runtime.GOOS == "ios"
	if dir, _ := lookup("XDG_STATE_HOME"); filepath.IsAbs(dir) && !mac {
		return filepath.Join(dir, "bulkrevoke"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", refusef(stateHint, "there is no folder for state: %w", err)
	}
	if mac {
		return filepath.Join(home, "Library", "Application Support", "bulkrevoke"), nil
	}
	return filepath.Join(home, ".local", "state", "bulkrevoke"), nil
}
