"""What is delivered: packed reproducibly on a build server, and looked at before it is kept at the metaserver."""
